const FIRST_MS = 10_000;
const LONGEST_MS = 600_000;

/** How long a change that failed is not tried again: 10 s, twice as long after each further failure, 10 minutes at most. */
export class RetryPause {
  #failures = 0;
  #until = 0;

  /** It may be tried. */
  isOver(now: number): boolean {
    return now >= this.#until;
  }

  failed(now: number): void {
    this.#until = now + Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#until = 0;
  }
}
