import { expect, test } from "vitest";
import { errorFromStatus, errorToStatus, HmsError, statusCodeName } from "./index.ts";

test("an error survives the journey with code, message and every detail", () => {
  const error = new HmsError("INVALID_ARGUMENT", "Two problems.", {
    reason: "BAD_MANIFEST",
    metadata: { file: "a.hms.yml" },
    fieldViolations: [
      { field: "scaling.min", description: "must be at least 1", line: 4, column: 8 },
      { field: "name", description: "is missing" },
    ],
    retryAfterMs: 1500,
  });
  const back = errorFromStatus(errorToStatus(error));
  expect(back).toMatchObject({ code: error.code, message: error.message, details: error.details });
});

test("the cause of an error never travels", () => {
  const error = new HmsError("INTERNAL", "Something failed.", { cause: new Error("password is hunter2") });
  expect(JSON.stringify(errorToStatus(error))).not.toContain("hunter2");
});

test("an error is recognised across copies of the package", () => {
  const copy = { [Symbol.for("hms.error")]: true };
  expect(copy instanceof HmsError).toBe(true);
  expect(new Error("plain") instanceof HmsError).toBe(false);
});

test("a number that gRPC does not define is UNKNOWN", () => {
  expect(statusCodeName(99)).toBe("UNKNOWN");
});

test("a detail that cannot be written is left out, and the error arrives", () => {
  const error = new HmsError("NOT_FOUND", "gone", { metadata: { at: 5 as unknown as string } });
  expect(errorFromStatus(errorToStatus(error))).toMatchObject({ code: "NOT_FOUND", message: "gone", details: {} });
});

test("a time to wait may be a fraction of a millisecond: it is rounded up", () => {
  const waits = (retryAfterMs: number) =>
    errorFromStatus(errorToStatus(new HmsError("FAILED_PRECONDITION", "later", { retryAfterMs }))).details.retryAfterMs;
  expect([waits(1_112.899414), waits(3), waits(-1e300), waits(1e300), waits(Number.NaN)]).toEqual([
    1113,
    3,
    0,
    315_576e9,
    undefined,
  ]);
});
