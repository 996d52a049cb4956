import { create, toBinary } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { expect, test } from "vitest";
import { FieldReader, MalformedError } from "./field-reader.ts";
import { FrameType, HEADER_BYTES, MAX_DATA_BYTES } from "./frame.ts";
import { type Frame, FrameReader } from "./frame-reader.ts";
import { readHello } from "./hello.ts";
import { metadataFields } from "./metadata-fields.ts";
import { frameBytes } from "./raw-peer.ts";
import { RequestEnvelope, requestPrefix } from "./request-envelope.ts";
import { ResponseEnvelope } from "./response-envelope.ts";

const BUDGET_MS = 1_500;
const SEED = 20_261_120;

/** Repeatable random numbers (xorshift32, G. Marsaglia 2003). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const lookup = toBinary(
  registry.LookupRequestSchema,
  create(registry.LookupRequestSchema, { serviceId: "hms.cdf.debate", environment: "prod" }),
);
const requestData = Buffer.concat([
  requestPrefix("hms.ffi.v1.RegistryService", "Lookup"),
  metadataFields({ authorization: "Bearer secret", traceparent: "00-1-2-01" }),
  Buffer.from([0x20, 0x80, 0x94, 0xeb, 0xdc, 0x03, 0x1a, lookup.length]),
  lookup,
]);
const good = Buffer.concat([
  frameBytes(1, { type: FrameType.HELLO }, Buffer.from("0801100f18808010", "hex")),
  frameBytes(1, { type: FrameType.REQUEST }, requestData),
  frameBytes(3, { type: FrameType.REQUEST, flags: 2 }, requestData),
  frameBytes(3, { type: FrameType.DATA }, Buffer.from(lookup)),
  frameBytes(3, { type: FrameType.DATA, flags: 5 }),
  frameBytes(1, { type: FrameType.RESPONSE }, Buffer.from("0a070805120361626312020801", "hex")),
]);

function mutated(next: (below: number) => number): Buffer {
  const bytes = Buffer.concat(Array.from({ length: 1 + next(3) }, () => good));
  for (let n = next(12); n > 0; n -= 1) bytes[next(bytes.length)] = next(256);
  const cut = next(4) === 0 ? next(bytes.length) : 0;
  return bytes.subarray(cut, next(4) === 0 ? cut + next(bytes.length - cut + 1) : bytes.length);
}

/** Everything a connection does with a frame before anybody is asked. */
function digest(frame: Frame, envelopes: { request: RequestEnvelope; response: ResponseEnvelope }): void {
  const { request, response } = envelopes;
  const attempts = [
    () => {
      request.read(frame);
      request.metadata();
    },
    () => response.read(frame),
    () => readHello(frame),
  ];
  for (const attempt of attempts) {
    try {
      attempt();
    } catch (error) {
      // A malformed envelope has its own error; a malformed status is protobuf's to refuse.
      if (!(error instanceof Error)) throw error;
    }
  }
}

test(`bytes of any kind are read without harm (seed ${SEED})`, () => {
  const next = random(SEED);
  const envelopes = { request: new RequestEnvelope(), response: new ResponseEnvelope() };
  let rounds = 0;
  let frames = 0;
  for (const endAt = performance.now() + BUDGET_MS; performance.now() < endAt; rounds += 1) {
    const bytes = mutated(next);
    const reader = new FrameReader({
      frame: (frame) => {
        expect(frame.start).toBeGreaterThanOrEqual(HEADER_BYTES);
        expect(frame.end).toBeLessThanOrEqual(frame.bytes.length);
        frames += 1;
        digest(frame, envelopes);
      },
      oversized: (_, length) => expect(length).toBeGreaterThan(MAX_DATA_BYTES),
      garbage: () => {},
    });
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + next(80);
      reader.push(Buffer.from(bytes.subarray(at, at + size)));
      at += size;
    }
  }
  expect(rounds).toBeGreaterThan(100);
  expect(frames).toBeGreaterThan(500);
});

test("random bytes are fields or malformed, never anything else", () => {
  const next = random(SEED + 1);
  const reader = new FieldReader();
  for (let round = 0; round < 20_000; round += 1) {
    const bytes = Buffer.from(Array.from({ length: next(24) }, () => next(256)));
    reader.reset(bytes, 0, bytes.length);
    try {
      while (reader.next()) expect(reader.to).toBeLessThanOrEqual(bytes.length);
    } catch (error) {
      expect(error).toBeInstanceOf(MalformedError);
    }
  }
});
