import type { DescMessage } from "@bufbuild/protobuf";

/** Finds message types by name, for what google.protobuf.Any may hold. */
export interface MessageTypes {
  getMessage(typeName: string): DescMessage | undefined;
}
