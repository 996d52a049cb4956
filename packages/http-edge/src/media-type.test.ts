import { expect, test } from "vitest";
import { hasForeignCharset, mediaTypeOf, preferredType } from "./media-type.ts";

const offered = ["application/x-ndjson", "text/event-stream", "application/json"] as const;

test.each([
  [undefined, "application/x-ndjson"],
  ["*/*", "application/x-ndjson"],
  ["application/json", "application/json"],
  ["application/*", "application/x-ndjson"],
  ["text/*;q=0.9, application/json;q=0.8", "text/event-stream"],
  ["application/json, */*;q=0.1", "application/json"],
  ["*/*, application/x-ndjson;q=0", "text/event-stream"],
  ["TEXT/Event-Stream; charset=utf-8", "text/event-stream"],
  ["image/png", undefined],
  ["application/json;q=bad", undefined],
])("an Accept of %s prefers %s", (accept, type) => {
  expect(preferredType(accept, offered)).toBe(type);
});

test("a media type is read without parameters, and only UTF-8 is no foreign charset", () => {
  expect(mediaTypeOf(" Application/JSON ; charset=utf-8")).toBe("application/json");
  expect([
    hasForeignCharset('a/b; charset="UTF-8"'),
    hasForeignCharset("a/b"),
    hasForeignCharset("a/b;charset=x"),
  ]).toEqual([false, false, true]);
});
