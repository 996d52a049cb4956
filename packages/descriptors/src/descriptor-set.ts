import { create, createFileRegistry, type DescFile, type FileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { HmsError } from "@hms/kernel";
import { structureProblem } from "./descriptor-structure.ts";
import { importsFirst } from "./import-order.ts";
import { addJsonNames } from "./json-names.ts";
import { optionsProblem } from "./options-problem.ts";

function collect(file: DescFile, seen: Set<DescFile>): void {
  if (seen.has(file)) return;
  for (const dependency of file.dependencies) collect(dependency, seen);
  seen.add(file);
}

/** Serializes files with everything they import, imports first: a complete google.protobuf.FileDescriptorSet. */
export function descriptorSetOf(files: Iterable<DescFile>): Uint8Array<ArrayBuffer> {
  const seen = new Set<DescFile>();
  for (const file of files) collect(file, seen);
  return writeDescriptorSet(create(FileDescriptorSetSchema, { file: [...seen].map(({ proto }) => proto) }));
}

/** Serializes a set as it is. */
export function writeDescriptorSet(set: FileDescriptorSet): Uint8Array<ArrayBuffer> {
  return toBinary(FileDescriptorSetSchema, set) as Uint8Array<ArrayBuffer>;
}

/**
 * Reads files of any order that bring their imports.
 * @throws HmsError INVALID_ARGUMENT if they are not complete or contradict each other; the message is a clause.
 */
export function registryOf(files: readonly FileDescriptorProto[]): FileRegistry {
  const set = create(FileDescriptorSetSchema, { file: importsFirst(files) });
  const problem = structureProblem(set);
  if (problem) throw new HmsError("INVALID_ARGUMENT", problem);
  addJsonNames(set.file);
  const registry = registryFrom(set);
  const unreadable = optionsProblem(registry);
  if (unreadable) throw new HmsError("INVALID_ARGUMENT", unreadable);
  return registry;
}

function registryFrom(set: FileDescriptorSet): FileRegistry {
  try {
    return createFileRegistry(set);
  } catch (error) {
    throw notReadable(error);
  }
}

function notReadable(error: unknown): HmsError {
  const why = error instanceof Error ? error.message : String(error);
  return new HmsError("INVALID_ARGUMENT", why, { cause: error });
}

/**
 * Reads a FileDescriptorSet that brings its imports, in any order.
 * @throws HmsError INVALID_ARGUMENT if it is not complete or contradicts itself; the message is a clause that says why.
 */
export function readDescriptorSet(bytes: Uint8Array): FileRegistry {
  let set: FileDescriptorSet;
  try {
    set = fromBinary(FileDescriptorSetSchema, bytes);
  } catch (error) {
    throw notReadable(error);
  }
  return registryOf(set.file);
}
