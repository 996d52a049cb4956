import { HmsError } from "@hms/kernel/errors";
import { expect, test } from "vitest";
import { backoffMs, failedOutcome, storedError } from "./step-failure.ts";

test("pauses grow up to their bound, or stay", () => {
  const growing = { max: 9, initial_ms: 100, max_delay_ms: 1000 };
  expect([1, 2, 3, 4, 5, 50].map((failures) => backoffMs(growing, failures))).toEqual([100, 200, 400, 800, 1000, 1000]);
  expect([1, 5].map((failures) => backoffMs({ max: 9, backoff: "fixed", initial_ms: 70 }, failures))).toEqual([70, 70]);
});

test("what another attempt cannot change, or must not repeat, is not tried again", () => {
  const retry = { max: 3, backoff: "fixed", initial_ms: 5 } as const;
  const outcomeOf = (error: unknown, failures = 0, effect: "idempotent" | "at_most_once" = "idempotent") =>
    failedOutcome({ spec: { retry, effect }, failures }, error).outcome;
  expect(outcomeOf(new Error("broken pipe"))).toBe("retry");
  expect(outcomeOf(new Error("broken pipe"), 2)).toBe("failed");
  expect(outcomeOf(new HmsError("NOT_FOUND", "no"))).toBe("failed");
  const late = new HmsError("DEADLINE_EXCEEDED", "late", { reason: "STEP_TIMEOUT" });
  expect([outcomeOf(late), outcomeOf(late, 0, "at_most_once")]).toEqual(["retry", "failed"]);
});

test("an error is stored without what PostgreSQL does not store", () => {
  expect(storedError(new Error("a\0b\ud800"))).toEqual({ code: "UNKNOWN", message: "ab\ufffd" });
  expect(storedError("text")).toEqual({ code: "UNKNOWN", message: "text" });
});
