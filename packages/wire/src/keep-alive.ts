/** What a keep-alive watches. */
export interface KeepAliveSubject {
  /** Grows with everything that arrives. */
  readonly chunks: number;
  /** Asks the peer for a sign of life. */
  ping(): void;
  /** The peer has not given one. */
  dead(): void;
}

/**
 * Finds a peer that is there but does not react: after one interval without a sign of life it is asked for one, after
 * the next it counts as dead.
 */
export class KeepAlive {
  readonly #subject: KeepAliveSubject;
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | undefined;
  #seen = 0;
  #asked = false;

  constructor(intervalMs: number, subject: KeepAliveSubject) {
    this.#subject = subject;
    this.#intervalMs = intervalMs;
  }

  /** Watches from now on; only while calls wait is there anything to find out. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#seen = this.#subject.chunks;
    this.#asked = false;
    this.#timer = setInterval(() => this.#look(), this.#intervalMs);
    this.#timer.unref();
  }

  /** Watches no more. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    const { chunks } = this.#subject;
    if (chunks !== this.#seen) {
      this.#seen = chunks;
      this.#asked = false;
    } else if (this.#asked) {
      this.stop();
      this.#subject.dead();
    } else {
      this.#asked = true;
      this.#subject.ping();
    }
  }
}
