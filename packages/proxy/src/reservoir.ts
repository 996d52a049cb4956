/** What a reservoir has kept of one window. */
export interface Kept<T> {
  values: T[];
  /** How many passed, those that were kept included: each kept one stands for `total / values.length` of them. */
  total: number;
}

/** Gaps may be endless; counts stay exact numbers all the same. */
const LONGEST_GAP = 2 ** 40;

/**
 * A uniform random sample of fixed size of all that passes until it is taken (reservoir sampling, Algorithm L: Li 1994).
 * Every one has the same chance, however they come; which ones are kept is drawn in random gaps, so that one that is not
 * costs a decrement and a comparison.
 */
export class Reservoir<T> {
  readonly #size: number;
  readonly #random: () => number;
  #values: T[] = [];
  /** Where the one stands that is due next, and how many come until then. */
  #dueAt = 1;
  #left = 1;
  #threshold = 1;

  /** Keeps at most `size`; `random` gives numbers from 0 to below 1, by default Math.random. */
  constructor(size: number, random: () => number = Math.random) {
    this.#size = size;
    this.#random = random;
  }

  /** One passes; true: it is to be kept, by `keep`, before the next one passes. */
  isDue(): boolean {
    return --this.#left === 0;
  }

  /** Keeps the one that was due, in the place of another if there is no room. */
  keep(value: T): void {
    const values = this.#values;
    if (values.length < this.#size) values.push(value);
    else values[Math.floor(this.#random() * this.#size)] = value;
    this.#left = values.length < this.#size ? 1 : this.#gap();
    this.#dueAt += this.#left;
  }

  #gap(): number {
    this.#threshold *= Math.exp(this.#logOfRandom() / this.#size);
    const gap = Math.floor(this.#logOfRandom() / Math.log1p(-this.#threshold)) + 1;
    return gap < LONGEST_GAP ? gap : LONGEST_GAP;
  }

  #logOfRandom(): number {
    return Math.log(1 - this.#random());
  }

  /** What was kept, and begins anew. */
  take(): Kept<T> {
    const kept = { values: this.#values, total: this.#dueAt - this.#left };
    this.#values = [];
    this.#dueAt = this.#left = this.#threshold = 1;
    return kept;
  }
}
