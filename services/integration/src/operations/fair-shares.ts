/** What runs for whom, so that nobody takes all the room: with more than a share, a principal waits for its own. */
export class FairShares {
  readonly #share: number;
  readonly #running = new Map<string, number>();

  /** Takes how much may run for one principal at once. */
  constructor(share: number) {
    this.#share = Math.max(1, share);
  }

  /** Something runs for a principal. */
  begin(principal: string): void {
    this.#running.set(principal, (this.#running.get(principal) ?? 0) + 1);
  }

  /** Something of a principal's has ended. */
  end(principal: string): void {
    const left = (this.#running.get(principal) ?? 1) - 1;
    if (left > 0) this.#running.set(principal, left);
    else this.#running.delete(principal);
  }

  /** How much more may be taken on without looking for whom, so that nobody gets more than his share; at least 1. */
  get room(): number {
    const counts = [...this.#running.values()].filter((count) => count < this.#share);
    return this.#share - Math.max(0, ...counts);
  }

  /** Those who have their share. */
  *served(): Generator<string> {
    for (const [principal, count] of this.#running) if (count >= this.#share) yield principal;
  }
}
