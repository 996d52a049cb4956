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

/**
 * Where requests wait while a service that is meant to run has no replica that accepts connections, as when its only one
 * is started again. The wait is that of the absence, not of each request: a service that is away for longer refuses at
 * once, so that nobody piles up behind one that does not come back.
 */
export class WaitingRoom {
  readonly #patienceMs: number;
  readonly #guests = new Set<Guest>();
  #absentSince = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Requests wait this long from the moment on at which nobody was there. */
  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  /** How many wait now. */
  get size(): number {
    return this.#guests.size;
  }

  /** Lets a request wait; false: it is to be refused now. */
  enter(guest: Guest, now: number): boolean {
    if (this.#absentSince === 0) this.#absentSince = now;
    if (now - this.#absentSince >= this.#patienceMs || this.#guests.size >= MOST_GUESTS) return false;
    this.#guests.add(guest);
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

  #look(): void {
    this.#timer = undefined;
    const now = performance.now();
    const isOver = this.#absentSince > 0 && now - this.#absentSince >= this.#patienceMs;
    for (const guest of [...this.#guests]) {
      if (!isOver) guest.tryAgain(now);
      else if (this.#guests.delete(guest)) guest.giveUp();
    }
    if (this.#guests.size > 0) this.#timer ??= setTimeout(() => this.#look(), LOOK_MS);
  }
}
