/**
 * Peak-sensitive moving average of response times (Finagle's Peak EWMA): a slow answer counts at once, a fast one
 * lowers the average with a half-life of about seven seconds.
 */
export class LatencyEstimate {
  readonly #decayMs: number;
  #averageMs = 0;
  #updatedAt = 0;

  /** The average falls to 1/e of a past peak in `decayMs`, default 10 s. */
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
      const keep = Math.exp((this.#updatedAt - now) / this.#decayMs);
      this.#averageMs = this.#averageMs * keep + elapsedMs * (1 - keep);
    }
    this.#updatedAt = now;
  }

  /** The average now, in milliseconds; without measurements it falls, so that a slow endpoint is tried again. */
  current(now: number): number {
    return this.#averageMs * Math.exp((this.#updatedAt - now) / this.#decayMs);
  }
}
