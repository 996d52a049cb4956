import type { DescMessage, DescMethod, Registry } from "@bufbuild/protobuf";
import { anyTypesOf } from "@hms/kernel";

const known = new WeakMap<DescMethod, { registry: Registry | undefined }>();

/** The types that an Any in a method's messages can hold: those of its contract's files and the details of errors; undefined if it has no Any. */
export function registryOf(method: DescMethod): Registry | undefined {
  let entry = known.get(method);
  if (entry === undefined) {
    const hasAny = holdsAny(method.input, new Set()) || holdsAny(method.output, new Set());
    entry = { registry: hasAny ? anyTypesOf(method.parent.file) : undefined };
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
