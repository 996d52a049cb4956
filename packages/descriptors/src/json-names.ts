import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import type { DescriptorProto, FileDescriptorProto } from "@bufbuild/protobuf/wkt";

/**
 * Gives fields without a JSON name the one that protoc gives them, in place: sets that no compiler wrote leave it out,
 * as gRPC's reflection for Node does, and JSON would then have fields without a name.
 */
export function addJsonNames(files: readonly FileDescriptorProto[]): void {
  const inMessage = ({ field, extension, nestedType }: DescriptorProto) => {
    for (const one of [...field, ...extension]) one.jsonName ||= protoCamelCase(one.name);
    for (const nested of nestedType) inMessage(nested);
  };
  for (const { messageType, extension } of files) {
    for (const one of extension) one.jsonName ||= protoCamelCase(one.name);
    for (const message of messageType) inMessage(message);
  }
}
