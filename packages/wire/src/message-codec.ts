import { create, type DescMessage, type DescMethod, fromBinary, toBinary } from "@bufbuild/protobuf";
import { HmsError } from "@hms/kernel";
import { MAX_DATA_BYTES } from "./frame.ts";
import { MAX_METADATA_BYTES } from "./metadata-fields.ts";

/** Names and lengths in a Request beside message and metadata. */
const ENVELOPE_BYTES = 4096;

/** The largest message a request carries: the rest of the frame is for names and metadata. */
const MAX_REQUEST_BYTES = MAX_DATA_BYTES - 2 * MAX_METADATA_BYTES - ENVELOPE_BYTES;

/** The largest message an answer carries: the rest of the frame is its tag and length. */
const MAX_ANSWER_BYTES = MAX_DATA_BYTES - 8;

const nameOf = (method: DescMethod) => `${method.parent.typeName}/${method.name}`;

function tooLarge(what: string, bytes: number, most: number): HmsError {
  return new HmsError(
    "RESOURCE_EXHAUSTED",
    `${what} has ${bytes} bytes; one message carries at most ${most}. Send less, or in parts.`,
    { reason: "MESSAGE_TOO_LARGE" },
  );
}

/**
 * Encodes a request, whole or as an init object.
 * @throws HmsError INVALID_ARGUMENT if it does not fit the contract, RESOURCE_EXHAUSTED if it is too large
 */
export function encodeRequest(method: DescMethod, input: unknown): Uint8Array {
  const desc = method.input;
  let payload: Uint8Array;
  try {
    const whole = "$typeName" in (input as object) ? input : create(desc, input as never);
    payload = toBinary(desc, whole as never);
  } catch (cause) {
    throw unreadable(`request of ${nameOf(method)}`, desc, cause);
  }
  if (payload.length > MAX_REQUEST_BYTES) {
    throw tooLarge(`The request of ${nameOf(method)}`, payload.length, MAX_REQUEST_BYTES);
  }
  return payload;
}

/** Decodes a request. @throws HmsError INVALID_ARGUMENT */
export function decodeRequest(method: DescMethod, payload: Uint8Array): unknown {
  try {
    return fromBinary(method.input, payload);
  } catch (cause) {
    throw unreadable(`request of ${nameOf(method)}`, method.input, cause);
  }
}

function unreadable(what: string, desc: DescMessage, cause: unknown): HmsError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new HmsError("INVALID_ARGUMENT", `The ${what} is no ${desc.typeName}: ${why}.`, { cause });
}

/** Encodes an answer. @throws HmsError RESOURCE_EXHAUSTED if it is too large */
export function encodeAnswer(method: DescMethod, output: unknown): Uint8Array {
  const payload = toBinary(method.output, output as never);
  if (payload.length <= MAX_ANSWER_BYTES) return payload;
  throw tooLarge(`The answer of ${nameOf(method)}`, payload.length, MAX_ANSWER_BYTES);
}

/** Decodes an answer. @throws HmsError INTERNAL if the peer's contract differs */
export function decodeAnswer(method: DescMethod, payload: Uint8Array): unknown {
  try {
    return fromBinary(method.output, payload);
  } catch (cause) {
    throw new HmsError(
      "INTERNAL",
      `The answer of ${nameOf(method)} is no ${method.output.typeName}: the two sides have different versions. Update the older one.`,
      { cause },
    );
  }
}
