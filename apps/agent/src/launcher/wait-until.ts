import { setTimeout as delay } from "node:timers/promises";

/** Asks until the answer is truthy or the deadline has passed; answers the last answer. Default every 5 ms. */
export async function waitUntil<T>(ask: () => T, deadlineMs: number, everyMs = 5): Promise<T> {
  const until = performance.now() + deadlineMs;
  for (;;) {
    const answer = ask();
    if (answer || performance.now() >= until) return answer;
    await delay(everyMs);
  }
}
