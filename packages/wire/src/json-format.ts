import { create, type DescMessage, fromJsonString, type JsonValue, toJsonString } from "@bufbuild/protobuf";
import { anyTypesOf } from "@hms/kernel";
import { type JsonLimits, jsonViolations } from "./json-violations.ts";
import type { MessageFormat } from "./message-codec.ts";

/** As deep as binary messages may be. */
const RECURSION_LIMIT = 100;

const utf8 = new TextDecoder("utf-8", { fatal: true });
const limits = (desc: DescMessage): JsonLimits => ({
  registry: anyTypesOf(desc.file),
  recursionLimit: RECURSION_LIMIT,
});

/**
 * The proto3 JSON mapping in UTF-8: names are read in either spelling and written in lowerCamelCase, unknown ones are
 * refused. No bytes at all are the empty message, as in the binary format.
 */
export const jsonFormat: MessageFormat = {
  encode: (desc, message) => Buffer.from(toJsonString(desc, message as never, limits(desc)), "utf8"),
  decode: (desc, payload, lenient = false) =>
    payload.length === 0
      ? create(desc)
      : fromJsonString(desc, utf8.decode(payload), { ...limits(desc), ignoreUnknownFields: lenient }),
  violations(desc, payload) {
    try {
      return jsonViolations(desc, JSON.parse(utf8.decode(payload)) as JsonValue, limits(desc));
    } catch {
      // It is no JSON at all, so no field is to blame.
      return [];
    }
  },
};
