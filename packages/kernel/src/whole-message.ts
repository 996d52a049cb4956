import { create, type DescMessage } from "@bufbuild/protobuf";

/** Handlers may answer with a part of a message; callers always get a whole one. */
export function wholeMessage(desc: DescMessage, output: unknown): unknown {
  return output !== null && typeof output === "object" && "$typeName" in output
    ? output
    : create(desc, output as never);
}
