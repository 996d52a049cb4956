import { ChangeSignal } from "@hms/kernel";

/** What waits to be sent to one subscriber. */
export class DeliveryQueue<T> {
  readonly #most: number;
  readonly #waiting: T[] = [];
  readonly #changed = new ChangeSignal();
  readonly #taken = new ChangeSignal();
  #failure: { error: unknown } | undefined;

  /** Takes how many may wait: `offer` beyond that lets the oldest go. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Adds one, and lets the oldest go if there are too many: for those that are delivered at most once. */
  offer(value: T): void {
    if (this.#waiting.length >= this.#most) this.#waiting.shift();
    this.#waiting.push(value);
    this.#changed.notify();
  }

  /** Adds one when there is room. @throws the signal's reason */
  async put(value: T, signal: AbortSignal): Promise<void> {
    while (this.#waiting.length >= this.#most) await this.#taken.next(signal);
    this.offer(value);
  }

  /** Ends the reading with an error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#changed.notify();
  }

  /** What comes, until the signal aborts. @throws the signal's reason, or what `fail` was told */
  async *read(signal: AbortSignal): AsyncGenerator<T> {
    for (;;) {
      while (this.#waiting.length > 0) {
        const next = this.#waiting.shift() as T;
        this.#taken.notify();
        yield next;
      }
      if (this.#failure) throw this.#failure.error;
      await this.#changed.next(signal);
    }
  }
}
