import { create, createFileRegistry, type DescFile, type FileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { HmsError } from "@hms/kernel";
import { structureProblem } from "./descriptor-structure.ts";

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

function withoutSources(set: FileDescriptorSet): FileDescriptorSet {
  for (const file of set.file) delete file.sourceCodeInfo;
  return set;
}

/**
 * Reads a FileDescriptorSet that brings its imports; comments and positions of the source are left out.
 * @throws HmsError INVALID_ARGUMENT if it is not complete or contradicts itself; the message is a clause that says why.
 */
export function readDescriptorSet(bytes: Uint8Array): FileRegistry {
  try {
    const set = withoutSources(fromBinary(FileDescriptorSetSchema, bytes));
    const problem = structureProblem(set);
    if (problem) throw new HmsError("INVALID_ARGUMENT", problem);
    return createFileRegistry(set);
  } catch (error) {
    if (error instanceof HmsError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new HmsError("INVALID_ARGUMENT", why, { cause: error });
  }
}
