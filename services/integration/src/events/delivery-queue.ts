import { ChangeSignal } from "@hms/kernel";

/** How much may wait for one subscriber. */
export interface QueueLimits<T> {
  /** Default: any number. */
  readonly most?: number;
  /** All that wait together; default: any size. A single one may be larger. */
  readonly mostBytes?: number;
  readonly bytesOf?: (value: T) => number;
}

/** What waits to be sent to one subscriber. */
export class DeliveryQueue<T> {
  readonly #limits: Required<QueueLimits<T>>;
  #bytes = 0;
  readonly #waiting: T[] = [];
  readonly #changed = new ChangeSignal();
  readonly #taken = new ChangeSignal();
  #failure: { error: unknown } | undefined;

  /** Takes how much may wait: `offer` beyond that lets the oldest go. */
  constructor(limits: QueueLimits<T> = {}) {
    const all = Number.POSITIVE_INFINITY;
    this.#limits = { most: all, mostBytes: all, bytesOf: () => 0, ...limits };
  }

  get #isFull(): boolean {
    return this.#waiting.length >= this.#limits.most || this.#bytes >= this.#limits.mostBytes;
  }

  /** Adds one, and lets the oldest go if there is too much: for those that are delivered at most once. */
  offer(value: T): void {
    while (this.#isFull) this.#take();
    this.#waiting.push(value);
    this.#bytes += this.#limits.bytesOf(value);
    this.#changed.notify();
  }

  #take(): T {
    const value = this.#waiting.shift() as T;
    this.#bytes -= this.#limits.bytesOf(value);
    return value;
  }

  /** Adds one when there is room. @throws the signal's reason */
  async put(value: T, signal: AbortSignal): Promise<void> {
    while (this.#isFull) await this.#taken.next(signal);
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
        const next = this.#take();
        this.#taken.notify();
        yield next;
      }
      if (this.#failure) throw this.#failure.error;
      await this.#changed.next(signal);
    }
  }
}
