import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { status } from "@hms/contracts";
import { errorFromStatus, errorToStatus, type HmsError } from "@hms/kernel";
import { FieldReader, varintBytes, writeVarint } from "./field-reader.ts";
import { FrameType } from "./frame.ts";
import type { Frame } from "./frame-reader.ts";
import type { FrameWriter } from "./frame-writer.ts";

const STATUS_TAG = 0x0a;
const PAYLOAD_TAG = 0x12;
const NOTHING = new Uint8Array(0);
/** Longer texts help nobody, and an error must always fit into a frame. */
const MAX_MESSAGE_CHARACTERS = 16 * 1024;
const MAX_STATUS_BYTES = 1 << 20;

/** Writes the final, successful answer of a call. */
export function writeAnswer(writer: FrameWriter, stream: number, payload: Uint8Array): void {
  const { length } = payload;
  const at = writer.begin(stream, FrameType.RESPONSE << 8, length === 0 ? 0 : 1 + varintBytes(length));
  if (length > 0) {
    writer.block[at] = PAYLOAD_TAG;
    writeVarint(writer.block, at + 1, length);
  }
  writer.finish(payload);
}

/** Writes the end of a call that failed. */
export function writeFailure(writer: FrameWriter, stream: number, error: HmsError): void {
  const bytes = statusBytes(error);
  const at = writer.begin(stream, FrameType.RESPONSE << 8, 1 + varintBytes(bytes.length));
  writer.block[at] = STATUS_TAG;
  writeVarint(writer.block, at + 1, bytes.length);
  writer.finish(bytes);
}

/** An error as google.rpc.Status; details are left out if they cannot be encoded or would not fit into a frame. */
export function statusBytes(error: HmsError): Uint8Array {
  const { message } = error;
  const shown = message.length > MAX_MESSAGE_CHARACTERS ? `${message.slice(0, MAX_MESSAGE_CHARACTERS)} …` : message;
  try {
    const bytes = toBinary(status.StatusSchema, { ...errorToStatus(error), message: shown });
    if (bytes.length <= MAX_STATUS_BYTES) return bytes;
  } catch {
    // Details that are not what their types say must not keep the error itself from its caller.
  }
  return toBinary(status.StatusSchema, create(status.StatusSchema, { code: error.statusCode, message: shown }));
}

/** The error in the bytes of a google.rpc.Status; undefined for code 0. */
export function readStatus(bytes: Uint8Array): HmsError | undefined {
  const found = fromBinary(status.StatusSchema, bytes);
  return found.code === 0 ? undefined : errorFromStatus(found);
}

/** A Response as it lies in its frame; one object is used for all, valid until the next `read`. */
export class ResponseEnvelope {
  /** The failure, if it is one. */
  error: HmsError | undefined;
  payload: Uint8Array = NOTHING;
  readonly #fields = new FieldReader();

  /** Finds the parts of a response. @throws if it is malformed */
  read(frame: Frame): void {
    this.error = undefined;
    this.payload = NOTHING;
    const fields = this.#fields.reset(frame.bytes, frame.start, frame.end);
    while (fields.next()) {
      if (fields.field === 2) this.payload = frame.bytes.subarray(fields.from, fields.to);
      else if (fields.field === 1) this.error = readStatus(frame.bytes.subarray(fields.from, fields.to));
    }
    fields.release();
  }
}
