import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { HmsError } from "@hms/kernel";

/**
 * Puts files after what they import; the order is otherwise kept.
 * @throws HmsError INVALID_ARGUMENT if an import is missing or files import each other; the message is a clause.
 */
export function importsFirst(files: readonly FileDescriptorProto[]): FileDescriptorProto[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  const done = new Set<FileDescriptorProto>();
  const begun = new Set<FileDescriptorProto>();
  // A stack of its own: a chain of imports may be as long as somebody cares to make it.
  for (const start of files) {
    const stack = [start];
    for (let file = stack.at(-1); file !== undefined; file = stack.at(-1)) {
      const next = done.has(file) ? undefined : nextImport(file, byName, done);
      if (next === undefined) {
        done.add(file);
        stack.pop();
        continue;
      }
      begun.add(file);
      if (begun.has(next)) throw new HmsError("INVALID_ARGUMENT", `${file.name} and ${next.name} import each other`);
      stack.push(next);
    }
  }
  return [...done];
}

function nextImport(
  file: FileDescriptorProto,
  byName: ReadonlyMap<string, FileDescriptorProto>,
  done: ReadonlySet<FileDescriptorProto>,
): FileDescriptorProto | undefined {
  for (const name of file.dependency) {
    const imported = byName.get(name);
    if (imported === undefined) throw new HmsError("INVALID_ARGUMENT", `${name}, imported by ${file.name}, is missing`);
    if (!done.has(imported)) return imported;
  }
  return undefined;
}
