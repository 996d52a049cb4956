/** What is left of the average, at most, when a faster answer comes: a hiccup is outlived by twenty good answers. */
const LONGEST_MEMORY = 0.9;

/**
 * Peak-sensitive moving average of response times, after Finagle's Peak EWMA: a slow answer counts at once, faster ones
 * lower the average. Unlike there, answers count and not only time, so that one pause of a busy endpoint does not make
 * it look slow for seconds, and an endpoint that gets nothing is still forgiven by time.
 */
export class LatencyEstimate {
  readonly #decayMs: number;
  #averageMs = 0;
  #updatedAt = 0;

  /** Without answers the average falls to 1/e in `decayMs`, default 10 s. */
  constructor(decayMs = 10_000) {
    this.#decayMs = decayMs;
  }

  /** Whether anything was measured yet. */
  get isKnown(): boolean {
    return this.#updatedAt !== 0;
  }

  /** Takes a measured time. */
  observe(elapsedMs: number, now: number): void {
    if (elapsedMs >= this.#averageMs) {
      this.#averageMs = elapsedMs;
    } else {
      const keep = Math.min(Math.exp((this.#updatedAt - now) / this.#decayMs), LONGEST_MEMORY);
      this.#averageMs = this.#averageMs * keep + elapsedMs * (1 - keep);
    }
    this.#updatedAt = now;
  }

  /** The average now, in milliseconds; without measurements it falls, so that a slow endpoint is tried again. */
  current(now: number): number {
    return this.#averageMs * Math.exp((this.#updatedAt - now) / this.#decayMs);
  }
}
