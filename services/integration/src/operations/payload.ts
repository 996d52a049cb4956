import {
  type DescMessage,
  fromBinary,
  fromJsonString,
  type MessageShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { integrationOperations } from "@hms/contracts";
import { anyTypesOf, HmsError } from "@hms/kernel";

const { JSON: JSON_CODEC } = integrationOperations.PayloadCodec;

/** Decodes a message kept in one of the two codecs. @throws HmsError INVALID_ARGUMENT if it is no such message */
export function decodePayload<D extends DescMessage>(
  desc: D,
  bytes: Uint8Array,
  codec: integrationOperations.PayloadCodec,
): MessageShape<D> {
  try {
    if (codec !== JSON_CODEC) return fromBinary(desc, bytes);
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return fromJsonString(desc, text === "" ? "{}" : text, { registry: anyTypesOf(desc.file) });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const description = `is no ${desc.typeName}: ${why}.`;
    throw new HmsError("INVALID_ARGUMENT", `The request ${description}`, {
      fieldViolations: [{ field: "request", description }],
      cause,
    });
  }
}

/** Encodes a message in one of the two codecs. */
export function encodePayload<D extends DescMessage>(
  desc: D,
  message: MessageShape<D>,
  codec: integrationOperations.PayloadCodec,
): Uint8Array {
  return codec === JSON_CODEC
    ? new TextEncoder().encode(toJsonString(desc, message, { registry: anyTypesOf(desc.file) }))
    : toBinary(desc, message);
}
