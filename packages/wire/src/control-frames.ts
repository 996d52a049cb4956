import type { HmsError, Metadata } from "@hms/kernel";
import { FrameFlag, FrameType, readU32, writeU32 } from "./frame.ts";
import type { Frame } from "./frame-reader.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { metadataFields, readMetadata } from "./metadata-fields.ts";
import { readStatus, statusBytes } from "./response-envelope.ts";

const NOTHING = new Uint8Array(0);
const PING_BYTES = 8;

/** Writes one message of a stream. */
export function writeData(writer: FrameWriter, stream: number, payload: Uint8Array): void {
  writer.begin(stream, FrameType.DATA << 8, 0);
  writer.finish(payload);
}

/** Writes that no more messages follow on a stream. */
export function writeEnd(writer: FrameWriter, stream: number): void {
  writer.begin(stream, (FrameType.DATA << 8) | FrameFlag.REMOTE_CLOSED | FrameFlag.NO_DATA, 0);
  writer.finish(NOTHING);
}

/** Tells the peer that nobody waits for a stream any more. */
export function writeCancel(writer: FrameWriter, stream: number): void {
  writer.begin(stream, FrameType.CANCEL << 8, 0);
  writer.finish(NOTHING);
}

/** Lets the peer send so many bytes more on a stream. */
export function writeWindow(writer: FrameWriter, stream: number, bytes: number): void {
  const at = writer.begin(stream, FrameType.WINDOW << 8, 4);
  writeU32(writer.block, at, bytes);
  writer.finish(NOTHING);
}

/** The bytes that a WINDOW frame grants; 0 if it is malformed. */
export function readWindow(frame: Frame): number {
  return frame.end - frame.start === 4 ? readU32(frame.bytes, frame.start) : 0;
}

/** Says something beside the answers of a stream. */
export function writeHeaders(writer: FrameWriter, stream: number, metadata: Metadata): void {
  writer.begin(stream, FrameType.HEADERS << 8, 0);
  writer.finish(metadataFields(metadata));
}

/** What a HEADERS frame says; nothing if it is malformed. */
export function readHeaders(frame: Frame): Metadata {
  try {
    return readMetadata(frame.bytes, { from: frame.start, to: frame.end });
  } catch {
    // It goes beside the answer and must not spoil it.
    return {};
  }
}

/** Asks for a sign of life, or gives one. */
export function writePing(writer: FrameWriter, answerTo?: Frame): void {
  const at = writer.begin(0, (FrameType.PING << 8) | (answerTo ? FrameFlag.PONG : 0), PING_BYTES);
  writer.block.fill(0, at, at + PING_BYTES);
  if (answerTo)
    answerTo.bytes.copy(writer.block, at, answerTo.start, Math.min(answerTo.end, answerTo.start + PING_BYTES));
  writer.finish(NOTHING);
}

/** Says that streams above `lastStream` are not served, and why the connection ends. */
export function writeGoaway(writer: FrameWriter, lastStream: number, error: HmsError): void {
  const at = writer.begin(0, FrameType.GOAWAY << 8, 4);
  writeU32(writer.block, at, lastStream);
  writer.finish(statusBytes(error));
}

/** Reads a GOAWAY; what of it is malformed is left out. */
export function readGoaway(frame: Frame): { lastStream: number; error: HmsError | undefined } {
  if (frame.end - frame.start < 4) return { lastStream: 0, error: undefined };
  const lastStream = readU32(frame.bytes, frame.start);
  try {
    return { lastStream, error: readStatus(frame.bytes.subarray(frame.start + 4, frame.end)) };
  } catch {
    // The reason is for people only.
    return { lastStream, error: undefined };
  }
}
