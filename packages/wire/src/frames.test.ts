import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { PassThrough } from "node:stream";
import { type ErrorCode, HmsError } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import {
  readGoaway,
  readHeaders,
  readWindow,
  writeCancel,
  writeData,
  writeEnd,
  writeGoaway,
  writeHeaders,
  writePing,
  writeWindow,
} from "./control-frames.ts";
import { FrameFlag, FrameType } from "./frame.ts";
import { type Frame, FrameReader } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";
import { type Hello, readHello, writeHello } from "./hello.ts";
import { metadataFields } from "./metadata-fields.ts";
import { RequestEnvelope, requestPrefix, writeRequest } from "./request-envelope.ts";
import { ResponseEnvelope, writeAnswer, writeFailure } from "./response-envelope.ts";

/** One of the published vectors; which parts it has follows from its kind. */
interface Vector {
  name: string;
  hex: string;
  kind:
    | "request"
    | "response"
    | "data"
    | "end"
    | "hello"
    | "cancel"
    | "window"
    | "ping"
    | "pong"
    | "goaway"
    | "headers";
  /** False if a peer may send it so but we do not. */
  writes?: boolean;
  stream: number;
  flags?: number;
  service?: string;
  method?: string;
  payload?: string;
  timeoutMs?: number;
  metadata?: Record<string, string>;
  /** Default 0, protobuf. */
  codec?: number;
  error?: { code: ErrorCode; message: string };
  hello?: Hello;
  bytes?: number;
  lastStream?: number;
}

const file = new URL("../../../sdks/conformance/frames.json", import.meta.url);
const vectors = JSON.parse(readFileSync(file, "utf8")) as Vector[];
const bytesOf = (hex = "") => Buffer.from(hex, "hex");

/** The one frame in some bytes; it stays valid because the bytes are not touched again. */
function frameIn(bytes: Buffer): Frame {
  const frames: Frame[] = [];
  const reader = new FrameReader({
    frame: ({ type, flags, stream, bytes: all, start, end }) =>
      frames.push({ type, flags, stream, bytes: all, start, end }),
    oversized: () => {},
    garbage: () => {},
  });
  reader.push(bytes);
  expect(frames).toHaveLength(1);
  return frames[0] as Frame;
}

const readers: Record<Vector["kind"], (frame: Frame) => Partial<Vector>> = {
  request(frame) {
    const envelope = new RequestEnvelope();
    envelope.read(frame);
    const { bytes, serviceFrom, serviceTo, methodFrom, methodTo, payloadFrom, payloadTo, timeoutMs, codec } = envelope;
    const metadata = { ...envelope.metadata() };
    return {
      flags: frame.flags,
      service: bytes.toString("utf8", serviceFrom, serviceTo),
      method: bytes.toString("utf8", methodFrom, methodTo),
      payload: bytes.toString("hex", payloadFrom, payloadTo),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(codec === 0 ? {} : { codec }),
      ...(Object.keys(metadata).length > 0 ? { metadata } : {}),
    };
  },
  response(frame) {
    const envelope = new ResponseEnvelope();
    envelope.read(frame);
    const { error } = envelope;
    const payload = Buffer.from(envelope.payload).toString("hex");
    return { payload, ...(error ? { error: { code: error.code, message: error.message } } : {}) };
  },
  data: (frame) => ({ payload: frame.bytes.toString("hex", frame.start, frame.end) }),
  end: () => ({}),
  hello: (frame) => ({ hello: readHello(frame) }),
  cancel: () => ({}),
  window: (frame) => ({ bytes: readWindow(frame) }),
  ping: () => ({}),
  pong: (frame) => ({ payload: frame.bytes.toString("hex", frame.start, frame.end) }),
  goaway(frame) {
    const { lastStream, error } = readGoaway(frame);
    return { lastStream, ...(error ? { error: { code: error.code, message: error.message } } : {}) };
  },
  headers: (frame) => ({ metadata: readHeaders(frame) }),
};

const failure = ({ error }: Vector) => new HmsError(error?.code ?? "UNKNOWN", error?.message ?? "");

const writers: Record<Vector["kind"], (writer: FrameWriter, vector: Vector) => void> = {
  request: (writer, { stream, flags = 0, service = "", method = "", metadata, timeoutMs, payload, codec }) =>
    writeRequest(writer, {
      stream,
      flags,
      prefix: requestPrefix(service, method, codec),
      metadata: metadata && metadataFields(metadata),
      timeoutMs,
      payload: bytesOf(payload),
    }),
  response: (writer, vector) =>
    vector.error
      ? writeFailure(writer, vector.stream, failure(vector))
      : writeAnswer(writer, vector.stream, bytesOf(vector.payload)),
  data: (writer, { stream, payload }) => writeData(writer, stream, bytesOf(payload)),
  end: (writer, { stream }) => writeEnd(writer, stream),
  hello: (writer, { stream, hello }) => writeHello(writer, stream, hello as Hello),
  cancel: (writer, { stream }) => writeCancel(writer, stream),
  window: (writer, { stream, bytes = 0 }) => writeWindow(writer, stream, bytes),
  ping: (writer) => writePing(writer),
  pong: (writer, { payload }) => {
    const bytes = bytesOf(payload);
    writePing(writer, { type: FrameType.PING, flags: 0, stream: 0, bytes, start: 0, end: bytes.length });
  },
  headers: (writer, { stream, metadata = {} }) => writeHeaders(writer, stream, metadata),
  goaway: (writer, vector) => writeGoaway(writer, vector.lastStream ?? 0, failure(vector)),
};

const TYPES: Record<Vector["kind"], [type: number, flags: number]> = {
  request: [FrameType.REQUEST, 0],
  response: [FrameType.RESPONSE, 0],
  data: [FrameType.DATA, 0],
  end: [FrameType.DATA, FrameFlag.REMOTE_CLOSED | FrameFlag.NO_DATA],
  hello: [FrameType.HELLO, 0],
  cancel: [FrameType.CANCEL, 0],
  window: [FrameType.WINDOW, 0],
  ping: [FrameType.PING, 0],
  pong: [FrameType.PING, FrameFlag.PONG],
  goaway: [FrameType.GOAWAY, 0],
  headers: [FrameType.HEADERS, 0],
};

describe("the published vectors", () => {
  test.each(vectors)("are read: $name", (vector) => {
    const { name: _, hex, kind, writes: __, stream, ...parts } = vector;
    const frame = frameIn(bytesOf(hex));
    const [type, flags] = TYPES[kind];
    expect([frame.stream, frame.type, frame.flags]).toEqual([stream, type, vector.flags ?? flags]);
    expect(readers[kind](frame)).toEqual(parts);
  });

  test.each(vectors.filter(({ writes = true }) => writes))("are written byte for byte: $name", (vector) => {
    const pipe = new PassThrough();
    const writer = new FrameWriter(pipe as unknown as Socket);
    writers[vector.kind](writer, vector);
    writer.end();
    expect((pipe.read() as Buffer).toString("hex")).toBe(vector.hex);
  });
});
