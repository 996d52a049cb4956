import { HmsError } from "@hms/kernel/errors";
import type { ClaimedTask, StoredError, TaskOutcome } from "./claimed-task.ts";
import type { RetryPolicy } from "./graph.ts";

/** What another attempt cannot change. */
const FINAL = new Set([
  "INVALID_ARGUMENT",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "UNAUTHENTICATED",
  "FAILED_PRECONDITION",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "DATA_LOSS",
]);
const MOST_MESSAGE_CHARACTERS = 4000;

/** An error as it is stored: never with half of a character, or one that PostgreSQL does not store. */
export function storedError(error: unknown): StoredError {
  const clean = (text: string) =>
    text.replaceAll("\0", "").toWellFormed().slice(0, MOST_MESSAGE_CHARACTERS).toWellFormed();
  if (error instanceof HmsError) {
    const { code, message, details } = error;
    return { code, message: clean(message), ...(details.reason ? { reason: clean(details.reason) } : {}) };
  }
  return { code: "UNKNOWN", message: clean(error instanceof Error ? error.message : String(error)) };
}

/** The pause before the next attempt, after so many failures. */
export function backoffMs(
  { backoff = "exponential", initial_ms = 1000, max_delay_ms = 300_000 }: RetryPolicy,
  failures: number,
): number {
  const pause = backoff === "fixed" ? initial_ms : initial_ms * 2 ** (failures - 1);
  return Math.min(pause, max_delay_ms);
}

/** What a failed attempt leads to. */
export function failedOutcome(task: Pick<ClaimedTask, "spec" | "failures">, error: unknown): TaskOutcome {
  const stored = storedError(error);
  const { retry } = task.spec;
  const failures = task.failures + 1;
  // What was given up for its time may have been done.
  const mayBeDone = task.spec.effect === "at_most_once" && stored.reason === "STEP_TIMEOUT";
  if (!retry || mayBeDone || failures >= retry.max || FINAL.has(stored.code))
    return { outcome: "failed", error: stored };
  return { outcome: "retry", error: stored, delay_ms: backoffMs(retry, failures) };
}
