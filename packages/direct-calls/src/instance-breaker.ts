const FIRST_EJECTION_MS = 1_000;
const LONGEST_EJECTION_MS = 60_000;
const CONSECUTIVE_FAILURES = 7;
const WINDOW_MS = 10_000;
/** Fewer calls than this in a window prove nothing. */
const LEAST_CALLS = 20;
const LEAST_SUCCESS_RATE = 0.5;

/** How a probe that has not ended yet keeps others away; a call without a deadline must not do so for ever. */
const LONGEST_PROBE_MS = 10_000;

/** When an instance is left alone. */
export interface BreakerOptions {
  /** Default 1 s; doubles with each further time, up to a minute. */
  readonly firstEjectionMs?: number;
  readonly random?: () => number;
}

/** What a breaker does now. */
export type BreakerState = "closed" | "open" | "probing";

/**
 * Keeps calls away from an instance that fails, after Linkerd's failure accrual: seven failures in a row, or half of at
 * least twenty calls within ten seconds, eject it; after a while, longer each time and spread by a quarter, one real call
 * is the probe that decides.
 */
export class InstanceBreaker {
  /** New calls avoid the instance until then, in `performance.now()` milliseconds. */
  ejectedUntil = 0;
  readonly #firstEjectionMs: number;
  readonly #random: () => number;
  #row = 0;
  #ejections = 0;
  #probing = false;
  #windowEndsAt = 0;
  #calls = 0;
  #failures = 0;

  constructor({ firstEjectionMs = FIRST_EJECTION_MS, random = Math.random }: BreakerOptions = {}) {
    this.#firstEjectionMs = firstEjectionMs;
    this.#random = random;
  }

  /** What it does at a moment. */
  state(now: number): BreakerState {
    if (this.#probing) return "probing";
    return this.ejectedUntil > now ? "open" : "closed";
  }

  /** A call goes to the instance: if it was ejected, this is the probe, and others stay away until it has ended. */
  begin(now: number): void {
    if (this.#ejections === 0 || this.#probing) return;
    this.#probing = true;
    this.ejectedUntil = now + LONGEST_PROBE_MS;
  }

  /** The instance answered. */
  succeeded(now: number): void {
    this.#count(now, false);
    this.#row = 0;
    if (this.#ejections === 0) return;
    this.#ejections = 0;
    this.#probing = false;
    this.ejectedUntil = 0;
  }

  /** The instance failed; `unreachable`: nobody is there, so it is left alone at once. */
  failed(now: number, unreachable: boolean): void {
    this.#count(now, true);
    this.#row += 1;
    const rateIsLow = this.#calls >= LEAST_CALLS && 1 - this.#failures / this.#calls < LEAST_SUCCESS_RATE;
    if (unreachable || this.#probing || this.#row >= CONSECUTIVE_FAILURES || rateIsLow) this.#eject(now);
  }

  /** The call ended without saying anything about the instance: its caller left. */
  abandoned(): void {
    this.#probing = false;
  }

  #count(now: number, failed: boolean): void {
    if (now >= this.#windowEndsAt) {
      this.#windowEndsAt = now + WINDOW_MS;
      this.#calls = 0;
      this.#failures = 0;
    }
    this.#calls += 1;
    if (failed) this.#failures += 1;
  }

  #eject(now: number): void {
    const backoff = Math.min(this.#firstEjectionMs * 2 ** this.#ejections, LONGEST_EJECTION_MS);
    this.#ejections = Math.min(this.#ejections + 1, 20);
    this.#probing = false;
    this.#row = 0;
    this.#calls = 0;
    this.#failures = 0;
    this.ejectedUntil = now + backoff * (0.75 + this.#random() / 2);
  }
}
