import { expect, test } from "vitest";
import { readPageToken, writePageToken } from "./page-token.ts";

const question = { environment: "default", pattern: "*", metadata: { team: "a", tier: "1" } };
const end = { serviceId: "hms.cdf.debate", version: "v1" };

test("a page token says where the next page begins, whatever the order of the labels", () => {
  const token = writePageToken(question, end);
  expect(readPageToken({ ...question, metadata: { tier: "1", team: "a" } }, token)).toEqual(end);
  expect(readPageToken(question, "")).toBeUndefined();
});

test("a page token is refused with another question, or if it is not one of ours", () => {
  const token = writePageToken(question, end);
  const refusal = expect.objectContaining({ code: "INVALID_ARGUMENT" });
  expect(() => readPageToken({ ...question, pattern: "hms.*" }, token)).toThrow(refusal);
  expect(() => readPageToken({ ...question, environment: "staging" }, token)).toThrow(refusal);
  for (const other of ["x", "bnVsbA", Buffer.from("[1,2,3]").toString("base64url"), "😀"]) {
    expect(() => readPageToken(question, other)).toThrow(refusal);
  }
});
