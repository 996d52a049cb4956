import { expect, test } from "vitest";
import { readGveAnswer } from "./gve-answer.ts";

test.each([
  ["GREEN", { verdict: "pass", words: "GREEN" }],
  ["green\n", { verdict: "pass", words: "GREEN" }],
  ['"YELLOW"', { verdict: "inconclusive", words: "YELLOW" }],
  ['{"status":"RED","reason":"prices differ"}', { verdict: "fail", words: "RED: prices differ" }],
  ['{"status":"STATUS_GREEN"}', { verdict: "pass", words: "GREEN" }],
  ['{"status":"YELLOW","reason":7}', { verdict: "inconclusive", words: "YELLOW" }],
])("%s is understood", (text, look) => {
  expect(readGveAnswer(text)).toEqual(look);
});

test.each(["", "ok", "{}", "[]", "null", '{"status":1}', "toString", "GREEN RED", "<html>GREEN</html>"])(
  "%s says none of them",
  (text) => {
    expect(readGveAnswer(text)).toBeUndefined();
  },
);
