import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import type { DescriptorProto, FileDescriptorProto } from "@bufbuild/protobuf/wkt";

function nameFields({ field, nestedType }: DescriptorProto): void {
  for (const one of field) one.jsonName ||= protoCamelCase(one.name);
  for (const nested of nestedType) nameFields(nested);
}

/**
 * Fills in the JSON names that files leave to their reader (descriptor.proto, `json_name`): the code that protoc makes for
 * Python and Java carries none, and neither does protobufjs, behind the reflection of gRPC for Node.
 */
export function nameFieldsInJson(files: readonly FileDescriptorProto[]): void {
  for (const { messageType } of files) for (const message of messageType) nameFields(message);
}
