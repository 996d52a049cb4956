import { HmsError } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import type { ExpiredLeases } from "./store.ts";

/** Longer waits than this overflow Node's timers. */
const LONGEST_TIMER_MS = 2_147_483_647;
const PAUSE_AFTER_FAILURE_MS = 1000;

/** What the keeper does to leases. */
export interface LeaseWork {
  /** Marks what has run out; says what changed and when the next is due. */
  expire: () => Promise<ExpiredLeases>;
  /** Gives leases time that nobody could renew. */
  prolong: () => Promise<void>;
  /** Hears what changed. */
  changed: (expired: ExpiredLeases["changed"]) => void;
  /** Hears why leases could not be ended; it is tried again. */
  failed: (failure: HmsError) => void;
}

/**
 * Ends leases when they have run out, by one timer on the earliest. Time in which instances could not renew, because the
 * server or PostgreSQL was away, does not count against them.
 */
export class LeaseKeeper {
  readonly #work: LeaseWork;
  readonly #stopping: AbortSignal;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Number.POSITIVE_INFINITY;
  #outage = true;
  #sweeping: Promise<void> | undefined;

  constructor(work: LeaseWork, stopping: AbortSignal) {
    this.#work = work;
    this.#stopping = stopping;
    stopping.addEventListener("abort", () => clearTimeout(this.#timer), { once: true });
  }

  /** A lease ends in `ms`; moves the timer if that is earlier than what it waits for. */
  endsIn(ms: number): void {
    const waitMs = Math.min(Math.max(1, Math.ceil(ms)), LONGEST_TIMER_MS);
    const dueAt = performance.now() + waitMs;
    if (dueAt >= this.#dueAt || this.#stopping.aborted) return;
    this.#dueAt = dueAt;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#dueAt = Number.POSITIVE_INFINITY;
      void this.sweep();
    }, waitMs);
  }

  /** Instances may have been unable to renew until now. */
  noteOutage(): void {
    this.#outage = true;
  }

  /** Ends what has run out, as soon as PostgreSQL answers; settles then, or when the service stops. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweepUntilDone().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  /** Settles when no sweep is under way. */
  async settled(): Promise<void> {
    await this.#sweeping;
  }

  async #sweepUntilDone(): Promise<void> {
    clearTimeout(this.#timer);
    this.#dueAt = Number.POSITIVE_INFINITY;
    try {
      const retry = { signal: this.#stopping, deadlineMs: Number.POSITIVE_INFINITY };
      const { changed, nextInMs } = await retryWhileUnavailable(() => this.#sweepOnce(), retry);
      if (changed.length > 0) this.#work.changed(changed);
      if (nextInMs !== undefined) this.endsIn(nextInMs);
    } catch (error) {
      if (this.#stopping.aborted) return;
      this.#work.failed(HmsError.from(error));
      this.endsIn(PAUSE_AFTER_FAILURE_MS);
    }
  }

  async #sweepOnce(): Promise<ExpiredLeases> {
    try {
      if (this.#outage) await this.#work.prolong();
      this.#outage = false;
      return await this.#work.expire();
    } catch (error) {
      this.#outage = true;
      throw error;
    }
  }
}
