import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { FieldViolation } from "@hms/kernel";
import type { ServiceKey } from "./service-key.ts";

const LARGEST_BYTES = 2 * 1024 * 1024;

function violation(description: string): FieldViolation[] {
  return [{ field: "file_descriptor_set", description }];
}

/** What is wrong with a serialized FileDescriptorSet as the contract of a service version. */
export function contractViolations(bytes: Uint8Array, { serviceId, version }: ServiceKey): FieldViolation[] {
  if (bytes.length > LARGEST_BYTES)
    return violation(`is larger than ${LARGEST_BYTES} bytes; leave out what the service does not use.`);
  const wanted = `${serviceId}.${version}`;
  try {
    const files = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
    for (const file of files.files) {
      if (file.proto.package === wanted && file.services.length > 0) return [];
    }
    return violation(`has no service in the package ${wanted}; register what the set contains, or send the other set.`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return violation(`is no complete FileDescriptorSet (${why}); build it with imports: buf build -o set.binpb.`);
  }
}
