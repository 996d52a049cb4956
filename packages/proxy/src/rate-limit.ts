/** So many in such a time, and how many of them at once. */
export interface RateTerms {
  readonly count: number;
  readonly periodMs: number;
  readonly burst: number;
}

/** What came of one request's question. */
export interface RateVerdict {
  readonly isAllowed: boolean;
  /** How many more would be let through at once. */
  readonly remaining: number;
  /** Until everything is free again, in milliseconds. */
  readonly resetMs: number;
  /** Until one more is let through, in milliseconds; 0 if it is. */
  readonly retryAfterMs: number;
}

const MOST_KEYS = 50_000;

/** Says what a time of arrival that is stored means for a request at `now`; pure, so that others can keep the time. */
export function judgeArrival(
  terms: RateTerms,
  now: number,
  stored: number | undefined,
): RateVerdict & { next: number } {
  const { count, periodMs, burst } = terms;
  const interval = periodMs / count;
  const before = Math.max(stored ?? now, now);
  const after = before + interval;
  const tolerance = interval * burst;
  const late = after - tolerance - now;
  // Times are fractions; a millionth of a millisecond is none.
  if (late > 1e-6) return { isAllowed: false, remaining: 0, resetMs: before - now, retryAfterMs: late, next: before };
  const remaining = Math.floor((tolerance - (after - now)) / interval + 1e-6);
  return { isAllowed: true, remaining, resetMs: after - now, retryAfterMs: 0, next: after };
}

/**
 * Limits rates by the generic cell rate algorithm (ITU-T I.371, in its virtual scheduling form): one number for each key,
 * no windows at whose edges twice as much gets through. Keeps 50,000 keys; beyond that those go that came first.
 */
export class RateLimiter {
  readonly terms: RateTerms;
  readonly #arrivals = new Map<string, number>();
  #sweptAt = 0;

  constructor(terms: RateTerms) {
    this.terms = terms;
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#arrivals.size;
  }

  /** Counts one request of a key at `now`, in milliseconds of any clock that only goes forward. */
  take(key: string, now: number): RateVerdict {
    const verdict = judgeArrival(this.terms, now, this.#arrivals.get(key));
    if (verdict.isAllowed) {
      if (this.#arrivals.size >= MOST_KEYS) this.#makeRoom(now);
      this.#arrivals.set(key, verdict.next);
    }
    return verdict;
  }

  #makeRoom(now: number): void {
    // What has run out says nothing any more; looking for it is worth it once in a period.
    if (now - this.#sweptAt >= this.terms.periodMs) {
      this.#sweptAt = now;
      for (const [key, arrival] of this.#arrivals) if (arrival <= now) this.#arrivals.delete(key);
    }
    for (const key of this.#arrivals.keys()) {
      if (this.#arrivals.size < MOST_KEYS) return;
      this.#arrivals.delete(key);
    }
  }
}
