import { RateLimiter, type RateTerms, type RateVerdict } from "./rate-limit.ts";
import type { RouteLimit } from "./route-rules.ts";

/** A place of a request that runs, as other gateways see it. */
export interface SharedPlace {
  /** False: others have them all. True at once: others cannot be asked now, and each gateway counts for itself. Never rejects. */
  readonly granted: true | Promise<boolean>;
  /** The request has ended, or was not let in. */
  end(): void;
}

/** Counts together with other gateways. */
export interface SharedLimits {
  /** Counts one request; undefined, or a rejection: it cannot be asked now, and each gateway counts for itself. */
  take(key: string, terms: RateTerms): Promise<RateVerdict> | undefined;
  /** Begins a request of which at most so many may run at the same time. */
  begin(key: string, most: number): SharedPlace;
}

/** The lasting state of one limit: what a new table does not change goes on counting. */
export class LimitCounter {
  readonly id: string;
  readonly limit: RouteLimit;
  readonly rate: RateLimiter | null;
  readonly #running = new Map<string, number>();

  constructor(id: string, limit: RouteLimit) {
    this.id = id;
    this.limit = limit;
    this.rate = limit.count > 0 ? new RateLimiter(limit) : null;
  }

  /** Begins a request, unless as many run as may. */
  begin(key: string): boolean {
    const running = this.#running.get(key) ?? 0;
    if (running >= this.limit.concurrency) return false;
    this.#running.set(key, running + 1);
    return true;
  }

  /** Ends a request that has begun. */
  end(key: string): void {
    const running = (this.#running.get(key) ?? 1) - 1;
    if (running > 0) this.#running.set(key, running);
    else this.#running.delete(key);
  }
}

/** All limits of an engine, by route. */
export class LimitBook {
  readonly shared: SharedLimits | undefined;
  #counters = new Map<string, LimitCounter>();
  #next = new Map<string, LimitCounter>();

  constructor(shared: SharedLimits | undefined) {
    this.shared = shared;
  }

  /** The counter of a limit for the table that is being made; the one of before if nothing of it has changed. */
  counter(id: string, limit: RouteLimit): LimitCounter {
    const known = this.#counters.get(id);
    const isSame = known !== undefined && JSON.stringify(known.limit) === JSON.stringify(limit);
    const counter = isSame ? known : new LimitCounter(id, limit);
    this.#next.set(id, counter);
    return counter;
  }

  /** The table is made: counters that it does not use are forgotten. */
  settle(): void {
    this.#counters = this.#next;
    this.#next = new Map();
  }
}
