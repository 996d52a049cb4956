/** Counts of one data plane, as it says them. */
export interface CountReport {
  /** When it began to count; another one: it began anew. */
  since: string;
  /** Each of them only grows. */
  values: Float64Array;
  /** Requests that run. */
  inFlight: number;
  /** Those of them that wait for a replica. */
  waiting: number;
  /** When this came, in milliseconds of any clock. */
  at: number;
}

const MOST_NODES = 64;
/** Data planes on which something runs report each second: what an older report says is not true any more. */
const FRESH_MS = 3000;

let lastBegin = 0;

/**
 * The sum of what data planes count, which never falls: one that starts anew counts on from here, and one that is gone stays
 * counted. A report that comes again, or late, adds nothing.
 */
export class CountedSum {
  /** Since when, in milliseconds since 1970; never the same for two sums of this process. */
  readonly countedSince: number;
  readonly values: Float64Array;
  /** What each data plane said at most; the one that reported last comes last. */
  readonly #nodes = new Map<string, CountReport>();

  constructor(length: number) {
    lastBegin = Math.max(Date.now(), lastBegin + 1);
    this.countedSince = lastBegin;
    this.values = new Float64Array(length);
  }

  /** Adds what is new in a data plane's report. */
  take(nodeId: string, report: CountReport): void {
    const known = this.#nodes.get(nodeId);
    const before = known?.since === report.since ? known.values : undefined;
    const most = new Float64Array(this.values.length);
    for (let i = 0; i < most.length; i++) {
      const counted = before?.[i] ?? 0;
      most[i] = Math.max(counted, report.values[i] ?? 0);
      this.values[i] = (this.values[i] as number) + (most[i] as number) - counted;
    }
    this.#nodes.delete(nodeId);
    this.#nodes.set(nodeId, { ...report, values: most });
    for (const oldest of this.#nodes.keys()) {
      if (this.#nodes.size <= MOST_NODES) break;
      this.#nodes.delete(oldest);
    }
  }

  /** What runs and waits now, on data planes that say so. */
  gauges(now: number): { inFlight: number; waiting: number } {
    const fresh = this.#fresh(now);
    const sum = (of: "inFlight" | "waiting") => fresh.reduce((total, report) => total + report[of], 0);
    return { inFlight: sum("inFlight"), waiting: sum("waiting") };
  }

  /**
   * For how long what ran at the last reports has run since, all together, in milliseconds. Of a data plane that is gone it
   * stays what it was when its report was no longer fresh, so that the sum with it does not fall.
   */
  runningMs(now: number): number {
    const since = (at: number) => Math.min(Math.max(now - at, 0), FRESH_MS);
    return [...this.#nodes.values()].reduce((total, { inFlight, at }) => total + inFlight * since(at), 0);
  }

  #fresh(now: number): CountReport[] {
    return [...this.#nodes.values()].filter(({ at }) => now - at <= FRESH_MS);
  }
}
