import { LATENCY_BUCKETS, latencyBucket } from "./latency-buckets.ts";

/** How an attempt ended: 1 to 5 by the first digit of the status. */
export const Outcome = {
  /** The client went away, or stopped sending, before there was an answer. */
  CANCELLED: 0,
  /** No connection, no answer in time, or one that broke off. */
  BROKEN: 6,
} as const;

const OUTCOMES = 7;

let lastBegin = 0;

/** The time since 1970 in milliseconds, never the same twice: whoever finds another one knows that counts began anew. */
export function countingBegin(): number {
  lastBegin = Math.max(Date.now(), lastBegin + 1);
  return lastBegin;
}

/** The outcome of an answer with this status; of none (0) that it was cancelled. */
export function outcomeOf(status: number): number {
  return (status / 100) | 0;
}

/** What is counted of one revision of a service; counting costs a few array accesses. */
export class RevisionCounts {
  readonly revision: number;
  readonly countedSince = countingBegin();
  /** By outcome. */
  readonly answers = new Float64Array(OUTCOMES);
  /** Times to the response head, by class. */
  readonly latencies = new Float64Array(LATENCY_BUCKETS);
  latencySumMs = 0;

  constructor(revision: number) {
    this.revision = revision;
  }

  /** A response head has come. */
  countHead(elapsedMs: number): void {
    const bucket = latencyBucket(elapsedMs);
    this.latencies[bucket] = (this.latencies[bucket] as number) + 1;
    this.latencySumMs += elapsedMs;
  }

  /** An attempt has ended. */
  countEnd(outcome: number): void {
    this.answers[outcome] = (this.answers[outcome] as number) + 1;
  }
}
