/** Pauses that double up to a longest one, each spread by half so that many who wait do not come back together. */
export class Backoff {
  readonly #first: number;
  readonly #longest: number;
  #failures = 0;

  constructor(firstMs: number, longestMs: number) {
    this.#first = firstMs;
    this.#longest = longestMs;
  }

  /** How long to pause now, in milliseconds. */
  next(): number {
    const pauseMs = Math.min(this.#first * 2 ** this.#failures, this.#longest);
    this.#failures = Math.min(this.#failures + 1, 30);
    return pauseMs * (0.5 + Math.random() / 2);
  }

  /** It went well: begins with the first pause again. */
  reset(): void {
    this.#failures = 0;
  }
}
