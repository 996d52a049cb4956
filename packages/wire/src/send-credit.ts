/** How much a sender may still send on a stream: unlimited until the peer has set a window. */
export class SendCredit {
  #left: number;
  #used = 0;
  #wake: (() => void) | undefined;

  /** Starts with the peer's window; undefined: none. */
  constructor(window?: number) {
    this.#left = window ?? Number.POSITIVE_INFINITY;
  }

  /** Sets the window that was not known at the start; what has been sent already counts. */
  limit(window: number): void {
    if (this.#left === Number.POSITIVE_INFINITY) this.#left = window - this.#used;
  }

  /** Counts a frame; one may overdraw, so that a message larger than the window can travel. */
  spend(bytes: number): void {
    this.#used += bytes;
    this.#left -= bytes;
  }

  /** The peer has taken so much. */
  add(bytes: number): void {
    this.#left += bytes;
    if (this.#left > 0) this.release();
  }

  /** Resolves once something may be sent or `release` is called; undefined if it may be now. */
  ready(): Promise<void> | undefined {
    if (this.#left > 0) return undefined;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Wakes the sender whatever is left: its stream has ended. */
  release(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
