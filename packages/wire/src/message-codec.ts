import { create, type DescMessage, type DescMethod, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type CallOptions, EncodedMessage, type FieldViolation, HmsError } from "@hms/kernel";
import { MAX_DATA_BYTES } from "./frame.ts";
import { jsonFormat } from "./json-format.ts";
import { encodeQuickly } from "./message-encoder.ts";
import { MAX_METADATA_BYTES } from "./metadata-fields.ts";

/** Names and lengths in a Request beside message and metadata. */
const ENVELOPE_BYTES = 4096;

/** The largest message a request carries: the rest of the frame is for names and metadata. */
const MAX_REQUEST_BYTES = MAX_DATA_BYTES - 2 * MAX_METADATA_BYTES - ENVELOPE_BYTES;

/** The largest message an answer carries: the rest of the frame is its tag and length. */
const MAX_ANSWER_BYTES = MAX_DATA_BYTES - 8;

/** How messages are written as bytes. */
export interface MessageFormat {
  encode(desc: DescMessage, message: unknown): Uint8Array;
  /** Names that the contract does not have are refused, unless `lenient`. @throws if the bytes are no such message */
  decode(desc: DescMessage, payload: Uint8Array, lenient?: boolean): unknown;
  /** What is wrong with bytes that `decode` refused, field by field where that can be told. */
  violations?(desc: DescMessage, payload: Uint8Array): FieldViolation[];
}

/** The names of the formats, as callers choose one. */
export type CodecName = "protobuf" | "json";

const nameOf = (method: DescMethod) => `${method.parent.typeName}/${method.name}`;

function tooLarge(what: string, bytes: number, most: number): HmsError {
  return new HmsError(
    "RESOURCE_EXHAUSTED",
    `${what} has ${bytes} bytes; one message carries at most ${most}. Send less, or in parts.`,
    { reason: "MESSAGE_TOO_LARGE" },
  );
}

/** Numbers in `Request.codec`. */
const PROTOBUF = 0;
const JSON_CODEC = 1;

/** Turns the messages of calls into bytes and back, within the limits of a frame. */
export class MessageCodec {
  /** Its number in `Request.codec`. */
  readonly id: number;
  /** True if its bytes are those that an `EncodedMessage` has. */
  readonly takesEncoded: boolean;
  readonly #format: MessageFormat;

  constructor(id: number, format: MessageFormat) {
    this.id = id;
    this.takesEncoded = id === PROTOBUF;
    this.#format = format;
  }

  /**
   * Encodes a request, whole or as an init object.
   * @throws HmsError INVALID_ARGUMENT if it does not fit the contract, RESOURCE_EXHAUSTED if it is too large
   */
  encodeRequest(method: DescMethod, input: unknown): Uint8Array {
    const desc = method.input;
    let payload: Uint8Array;
    try {
      payload = this.#encoded(desc, input);
    } catch (cause) {
      throw unreadable(`request of ${nameOf(method)}`, desc, { cause });
    }
    if (payload.length > MAX_REQUEST_BYTES) {
      throw tooLarge(`The request of ${nameOf(method)}`, payload.length, MAX_REQUEST_BYTES);
    }
    return payload;
  }

  #encoded(desc: DescMessage, given: unknown): Uint8Array {
    if (this.takesEncoded && given instanceof EncodedMessage) return given.bytes;
    const input = EncodedMessage.messageOf(given) as object;
    return this.#format.encode(desc, "$typeName" in input ? input : create(desc, input as never));
  }

  /** Decodes a request. @throws HmsError INVALID_ARGUMENT with every violation that can be told */
  decodeRequest(method: DescMethod, payload: Uint8Array): unknown {
    try {
      return this.#format.decode(method.input, payload);
    } catch (cause) {
      const fieldViolations = this.#format.violations?.(method.input, payload) ?? [];
      const details = fieldViolations.length > 0 ? { fieldViolations } : {};
      throw unreadable(`request of ${nameOf(method)}`, method.input, { ...details, cause });
    }
  }

  /** Encodes an answer. @throws HmsError RESOURCE_EXHAUSTED if it is too large */
  encodeAnswer(method: DescMethod, output: unknown): Uint8Array {
    const payload = this.#encoded(method.output, output);
    if (payload.length <= MAX_ANSWER_BYTES) return payload;
    throw tooLarge(`The answer of ${nameOf(method)}`, payload.length, MAX_ANSWER_BYTES);
  }

  /**
   * Decodes an answer, by `readAnswer` if it is given and can; what a newer server adds is skipped.
   * @throws HmsError INTERNAL if the peer's contract differs
   */
  decodeAnswer(method: DescMethod, payload: Uint8Array, readAnswer?: CallOptions["readAnswer"]): unknown {
    try {
      if (readAnswer !== undefined && this.takesEncoded) return readAnswer(method.output, payload);
      return this.#format.decode(method.output, payload, true);
    } catch (cause) {
      throw new HmsError(
        "INTERNAL",
        `The answer of ${nameOf(method)} is no ${method.output.typeName}: the two sides have different versions. Update the older one.`,
        { cause },
      );
    }
  }
}

function unreadable(
  what: string,
  desc: DescMessage,
  details: { cause: unknown; fieldViolations?: FieldViolation[] },
): HmsError {
  const { cause } = details;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new HmsError("INVALID_ARGUMENT", `The ${what} is no ${desc.typeName}: ${why}.`, details);
}

const binaryFormat: MessageFormat = {
  encode: (desc, message) => encodeQuickly(desc, message) ?? toBinary(desc, message as never),
  decode: (desc, payload) => fromBinary(desc, payload),
};

/** The codecs by name; their numbers are those of `Request.codec`. */
export const codecs: Readonly<Record<CodecName, MessageCodec>> = {
  protobuf: new MessageCodec(PROTOBUF, binaryFormat),
  json: new MessageCodec(JSON_CODEC, jsonFormat),
};

const byId = Object.values(codecs);

/** The codec a request asks for. @throws HmsError INVALID_ARGUMENT if there is none of this number */
export function codecOf(id: number): MessageCodec {
  const codec = byId[id];
  if (codec !== undefined) return codec;
  throw new HmsError("INVALID_ARGUMENT", `There is no codec ${id}: use 0 for protobuf or 1 for JSON.`);
}
