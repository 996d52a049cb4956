import { expect, test } from "vitest";
import { metadataFields, readMetadata } from "./metadata-fields.ts";

const long = "Ticket ".padEnd(400, "x");

test.each<[string, Record<string, string>]>([
  ["nothing", {}],
  ["a ticket alone", { authorization: long }],
  ["a ticket among short ones", { traceparent: "00-1-2-00", authorization: long, "x-request-id": "r" }],
  ["empty values", { a: "", b: "" }],
  ["the longest short value and one more character", { a: "v".repeat(113), b: "v".repeat(114), c: "v".repeat(128) }],
  ["letters beyond ASCII", { a: "é", ü: "日本" }],
  [
    "more than fits where short ones are gathered",
    Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`k${n}`, "v".repeat(100)])),
  ],
])("%s is read as it was written", (_, metadata) => {
  const bytes = metadataFields(metadata);
  expect(readMetadata(bytes, { from: 0, to: bytes.length })).toEqual(metadata);
});

test("names are written in lower case, and what is no text is refused", () => {
  const bytes = metadataFields({ "X-Name": "V" });
  expect(readMetadata(bytes, { from: 0, to: bytes.length })).toEqual({ "x-name": "V" });
  expect(() => metadataFields({ a: 5 } as never)).toThrow(TypeError);
});

test("metadata above 64 KiB is refused, however it is spread", () => {
  expect(() => metadataFields({ authorization: "x".repeat(65_536) })).toThrow(/at most 65536/);
  const many = Object.fromEntries(Array.from({ length: 700 }, (_, n) => [`k${n}`, "v".repeat(100)]));
  expect(() => metadataFields(many)).toThrow(/at most 65536/);
});
