import { setTimeout as delay } from "node:timers/promises";

/** Until when to wait, and for what. */
export interface WaitOptions {
  /** Default 30 000: what takes longer is broken, also on a machine that has much else to do. */
  deadlineMs?: number;
  /** Completes "Waited … ms for"; may be a function that says how far things are at the end. */
  describe: string | (() => string);
  /** Time between two looks; default 20. */
  intervalMs?: number;
}

type Nothing = undefined | null | false;

/**
 * Looks again and again until `condition` gives something other than undefined, null and false, and returns that.
 * An error of the condition counts as "not yet" and is the cause of the failure at the deadline.
 */
export async function waitFor<T>(condition: () => T | Promise<T>, options: WaitOptions): Promise<Exclude<T, Nothing>> {
  const { deadlineMs = 30_000, intervalMs = 20, describe } = options;
  const deadline = performance.now() + deadlineMs;
  let lastError: unknown;
  for (;;) {
    try {
      const found = await condition();
      lastError = undefined;
      if (found !== undefined && found !== null && found !== false) return found as Exclude<T, Nothing>;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() > deadline) {
      const what = typeof describe === "string" ? describe : describe();
      throw new Error(`Waited ${deadlineMs} ms for ${what}.`, lastError === undefined ? {} : { cause: lastError });
    }
    await delay(intervalMs);
  }
}
