import { createRegistry, type DescFile, type DescMessage, type DescMethod, type Registry } from "@bufbuild/protobuf";

const known = new WeakMap<DescMethod, { registry: Registry | undefined }>();

/** The types that an Any in a method's messages can hold: those of its contract's files; undefined if it has no Any. */
export function registryOf(method: DescMethod): Registry | undefined {
  let entry = known.get(method);
  if (entry === undefined) {
    const hasAny = holdsAny(method.input, new Set()) || holdsAny(method.output, new Set());
    entry = { registry: hasAny ? createRegistry(...filesBelow(method.parent.file, new Set())) : undefined };
    known.set(method, entry);
  }
  return entry.registry;
}

function holdsAny(desc: DescMessage, seen: Set<DescMessage>): boolean {
  if (desc.typeName === "google.protobuf.Any") return true;
  if (seen.has(desc)) return false;
  seen.add(desc);
  return desc.fields.some((field) => field.message !== undefined && holdsAny(field.message, seen));
}

function filesBelow(file: DescFile, seen: Set<DescFile>): Set<DescFile> {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const dependency of file.dependencies) filesBelow(dependency, seen);
  return seen;
}
