import { expect, test } from "vitest";
import { FieldReader, MalformedError } from "./field-reader.ts";
import { HEADER_BYTES, MAX_DATA_BYTES } from "./frame.ts";
import { type Frame, FrameReader } from "./frame-reader.ts";
import { mutatedFrames, random } from "./fuzz-frames.ts";
import { readHello } from "./hello.ts";
import { RequestEnvelope } from "./request-envelope.ts";
import { ResponseEnvelope } from "./response-envelope.ts";

const BUDGET_MS = 1_500;
const SEED = 20_261_120;

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
    const bytes = mutatedFrames(next);
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
