/** A request that waits for a replica. */
export interface Guest {
  /** Leaves and goes on, if a replica may be tried now. */
  tryAgain(now: number): void;
  /** There was none in time. */
  giveUp(): void;
}

/** As many as wait for one service; more are refused. */
const MOST_GUESTS = 1_000;
const LOOK_MS = 20;
/** After a replica that did not come when a request had asked for it. */
const REST_MS = 10_000;

/**
 * Where requests wait while a service that is meant to run has no replica that accepts connections, as when its only one
 * is started again. The wait is that of the absence, not of each request: a service that is away for longer refuses at
 * once, so that nobody piles up behind one that does not come back.
 */
export class WaitingRoom {
  readonly #patienceMs: number;
  readonly #onFirst: () => void;
  #wakeMs = 0;
  readonly #guests = new Set<Guest>();
  #absentSince = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * Requests wait this long from the moment on at which nobody was there. `onFirst` is called when one begins to wait alone
   * where requests start replicas.
   */
  constructor(patienceMs: number, onFirst: () => void = () => {}) {
    this.#patienceMs = patienceMs;
    this.#onFirst = onFirst;
  }

  /** True if a request starts a replica. */
  get wakes(): boolean {
    return this.#wakeMs > 0;
  }

  /** A request starts a replica, and waits for it so long; 0: it starts none. */
  wakeWithin(wakeMs: number): void {
    this.#wakeMs = wakeMs;
  }

  /** In how many seconds a client that is refused may try again. */
  get retryAfter(): number {
    return this.wakes ? REST_MS / 1000 : 1;
  }

  get #longestMs(): number {
    return this.wakes ? this.#wakeMs : this.#patienceMs;
  }

  /** How many wait now. */
  get size(): number {
    return this.#guests.size;
  }

  /** Lets a request wait; false: it is to be refused now. */
  enter(guest: Guest, now: number): boolean {
    if (this.#absentSince === 0 || this.#isRested(now)) this.#absentSince = now;
    if (now - this.#absentSince >= this.#longestMs || this.#guests.size >= MOST_GUESTS) return false;
    this.#guests.add(guest);
    if (this.wakes && this.#guests.size === 1) this.#onFirst();
    this.#timer ??= setTimeout(() => this.#look(), LOOK_MS);
    return true;
  }

  /** The request has ended otherwise. */
  leave(guest: Guest): void {
    this.#guests.delete(guest);
  }

  /** A replica is there. */
  endAbsence(): void {
    this.#absentSince = 0;
  }

  /** What starts a replica may try again some time after the last one did not come. */
  #isRested(now: number): boolean {
    return this.wakes && now - this.#absentSince >= this.#longestMs + REST_MS;
  }

  #look(): void {
    this.#timer = undefined;
    const now = performance.now();
    const isOver = this.#absentSince > 0 && now - this.#absentSince >= this.#longestMs;
    for (const guest of [...this.#guests]) {
      if (!isOver) guest.tryAgain(now);
      else if (this.#guests.delete(guest)) guest.giveUp();
    }
    if (this.#guests.size > 0) this.#timer ??= setTimeout(() => this.#look(), LOOK_MS);
  }
}
