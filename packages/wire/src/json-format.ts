import {
  create,
  createRegistry,
  type DescFile,
  type DescMessage,
  fromJsonString,
  type JsonValue,
  type Registry,
  toJsonString,
} from "@bufbuild/protobuf";
import { type JsonLimits, jsonViolations } from "./json-violations.ts";
import type { MessageFormat } from "./message-codec.ts";

/** As deep as binary messages may be. */
const RECURSION_LIMIT = 100;

const utf8 = new TextDecoder("utf-8", { fatal: true });
const registries = new WeakMap<DescFile, Registry>();

/** The types that a google.protobuf.Any may hold: those of the contract's file and of all it imports. */
function registryOf({ file }: DescMessage): Registry {
  let registry = registries.get(file);
  if (registry === undefined) {
    const files = new Set<DescFile>([file]);
    for (const each of files) for (const imported of each.dependencies) files.add(imported);
    registry = createRegistry(...files);
    registries.set(file, registry);
  }
  return registry;
}

const limits = (desc: DescMessage): JsonLimits => ({ registry: registryOf(desc), recursionLimit: RECURSION_LIMIT });

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
