/** Limits how many may do something at once; the others wait for their turn. */
export class Slots {
  readonly #most: number;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** How many could be taken now. */
  get free(): number {
    return this.#most - this.#taken;
  }

  /** Takes a slot if one is free. */
  tryTake(): boolean {
    if (this.#taken >= this.#most) return false;
    this.#taken += 1;
    return true;
  }

  /** Resolves once a slot is the caller's. */
  async take(): Promise<void> {
    if (this.tryTake()) return;
    // A slot given back goes to the first who waits without becoming free in between.
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Gives a slot back. */
  release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#taken -= 1;
  }
}
