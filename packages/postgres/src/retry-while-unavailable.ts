import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel";
import { translatePgError } from "./pg-error.ts";

/** Until when to try again. */
export interface RetryOptions {
  /** Give up after this long. */
  deadlineMs: number;
  signal?: AbortSignal;
}

const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 500;

/**
 * Repeats an operation while the database is unavailable, with growing, scattered pauses of 20 to 500 ms. The operation
 * must be idempotent: it may have happened although its answer was lost.
 * @throws HmsError the last error after the deadline; any other error at once.
 */
export async function retryWhileUnavailable<T>(operation: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { deadlineMs, signal } = options;
  const deadline = performance.now() + deadlineMs;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    try {
      return await operation();
    } catch (error) {
      const translated = translatePgError(error);
      const wait = pause * (0.5 + Math.random() / 2);
      if (translated.code !== "UNAVAILABLE" || performance.now() + wait > deadline) throw translated;
      await delay(wait, undefined, { signal }).catch((abort: unknown) => {
        throw HmsError.from(abort);
      });
    }
  }
}
