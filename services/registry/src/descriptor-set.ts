import { create, type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

function collect(file: DescFile, seen: Set<DescFile>): void {
  if (seen.has(file)) return;
  for (const dependency of file.dependencies) collect(dependency, seen);
  seen.add(file);
}

/** Serializes files with everything they import, imports first: a complete google.protobuf.FileDescriptorSet. */
export function descriptorSetOf(files: Iterable<DescFile>): Uint8Array {
  const seen = new Set<DescFile>();
  for (const file of files) collect(file, seen);
  return toBinary(
    FileDescriptorSetSchema,
    create(FileDescriptorSetSchema, { file: [...seen].map(({ proto }) => proto) }),
  );
}
