/** How much a sender may still send on a stream: unlimited until the peer has set a window. */
export class SendCredit {
  #left = Number.POSITIVE_INFINITY;
  #used = 0;
  #wake: (() => void) | undefined;

  /** Sets the window the peer opens a stream with; what has been sent already counts. */
  limit(bytes: number): void {
    if (this.#left === Number.POSITIVE_INFINITY) this.#left = bytes - this.#used;
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
