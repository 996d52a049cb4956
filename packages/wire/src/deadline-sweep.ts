import type { ClientCall } from "./client-call.ts";

/** Longer waits than this overflow Node's timers. */
const LONGEST_TIMER_MS = 2_147_483_647;

/**
 * Watches the deadlines of many calls with one timer: it stands at the nearest deadline, and when it rings, every call
 * is looked at. Calls that end in time cost nothing.
 */
export class DeadlineSweep {
  readonly #calls: ReadonlyMap<number, ClientCall>;
  readonly #expire: (call: ClientCall) => void;
  #timer: NodeJS.Timeout | undefined;
  #standsAt = Number.POSITIVE_INFINITY;

  constructor(calls: ReadonlyMap<number, ClientCall>, expire: (call: ClientCall) => void) {
    this.#calls = calls;
    this.#expire = expire;
  }

  /** Watches one more deadline, absolute in `performance.now()` milliseconds. */
  watch(deadlineAt: number): void {
    if (deadlineAt >= this.#standsAt) return;
    clearTimeout(this.#timer);
    this.#standsAt = deadlineAt;
    const waitMs = Math.min(Math.max(Math.ceil(deadlineAt - performance.now()), 1), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => this.#sweep(), waitMs);
    // Calls keep the process alive by their connection; a timer that outlives them must not.
    this.#timer.unref();
  }

  #sweep(): void {
    this.#standsAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    let nearest = Number.POSITIVE_INFINITY;
    for (const call of [...this.#calls.values()]) {
      const { deadlineAt = nearest } = call;
      if (deadlineAt <= now) this.#expire(call);
      else nearest = Math.min(nearest, deadlineAt);
    }
    if (nearest < Number.POSITIVE_INFINITY) this.watch(nearest);
  }

  /** Rings no more. */
  stop(): void {
    clearTimeout(this.#timer);
  }
}
