import { latencyBoundMs, latencyQuantileMs } from "@hms/proxy/traffic-figures";
import type { MetricQuestion } from "./gate.ts";
import type { Look } from "./look.ts";

/** What was counted of one side in the time that is judged. */
export interface SideCounts {
  readonly requests: number;
  /** Answers 5xx, and those that broke off. */
  readonly failed: number;
  /** Times to the answer, by class (`latencyBucket`). */
  readonly latencies: readonly number[];
}

/** Both sides in the same time. */
export interface MetricScene {
  readonly tried: SideCounts;
  /** Undefined if the baseline gets no requests on purpose: before it nothing served, or everything goes to the new version. */
  readonly baseline: SideCounts | undefined;
  readonly elapsedMs: number;
}

/** One-sided 99.5 %: it is looked at again and again, and each look may err. */
const SURE = 2.576;
/** Fewer bad requests than this prove nothing, however few there were at all. */
const FEWEST_BAD = 5;
/** A rate over less time is noise. */
const SHORTEST_RATE_MS = 5_000;

/**
 * Judges what was counted: fails as soon as it is certainly worse than it may be, passes if it is not worse and the sample is
 * large enough, else cannot tell. Certainly means beyond the interval that Wilson gives for a share (E. B. Wilson,
 * "Probable inference", 1927), so that one bad request of few undoes nothing.
 */
export function judgeMetric(question: MetricQuestion, scene: MetricScene): Look {
  switch (question.metric) {
    case "error_rate":
      return judgeErrors(question, scene);
    case "latency":
      return judgeLatency(question, scene);
    case "throughput":
      return judgeThroughput(question, scene);
  }
}

function judgeErrors({ max, beside, sample }: MetricQuestion, { tried, baseline }: MetricScene): Look {
  const looks: Look[] = [];
  const { requests, failed } = tried;
  const words = `${percentage(failed / Math.max(1, requests))} of ${count(requests)} failed`;
  if (max && "share" in max) {
    const limit = max.share;
    looks.push(judgeShare({ bad: failed, of: requests, limit, sample }, `${words}, at most ${percentage(limit)} may`));
  }
  if (beside !== undefined && baseline) {
    const rate = baseline.failed / Math.max(1, baseline.requests);
    // What the baseline may have as well, by chance.
    const limit = Math.min(1, (1 + beside) * upperBound(baseline.failed, baseline.requests));
    const compared = `${words}; of the old version's ${count(baseline.requests)} ${percentage(rate)}`;
    const enough = Math.min(requests, baseline.requests);
    looks.push(judgeShare({ bad: failed, of: requests, limit, sample, enough }, compared));
  }
  return worst(looks, words);
}

function judgeLatency({ max, beside, sample, quantile }: MetricQuestion, { tried, baseline }: MetricScene): Look {
  const looks: Look[] = [];
  const measured = latencyQuantileMs(tried.latencies, quantile);
  const words = `p${Math.round(quantile * 100)} ${time(measured)} of ${count(total(tried.latencies))}`;
  const judge = (limitMs: number, text: string, enough?: number) => {
    const of = total(tried.latencies);
    const share = { bad: slower(tried.latencies, limitMs), of, limit: 1 - quantile, sample };
    looks.push(judgeShare({ ...share, ...(enough !== undefined && { enough }) }, text));
  };
  if (max && "ms" in max) judge(max.ms, `${words}, at most ${time(max.ms)}`);
  if (beside !== undefined && baseline) {
    const of = total(baseline.latencies);
    const old = latencyQuantileMs(baseline.latencies, quantile);
    const enough = Math.min(total(tried.latencies), of);
    judge(of === 0 ? Number.POSITIVE_INFINITY : old * (1 + beside), `${words}; the old version's ${time(old)}`, enough);
  }
  return worst(looks, words);
}

function judgeThroughput({ min = 0 }: MetricQuestion, { tried, elapsedMs }: MetricScene): Look {
  const seconds = elapsedMs / 1000;
  const rate = tried.requests / Math.max(seconds, 1e-9);
  const words = `${Math.round(rate * 10) / 10} requests/s in ${Math.round(seconds)} s, at least ${min} are asked for`;
  if (elapsedMs < SHORTEST_RATE_MS) return { verdict: "inconclusive", words };
  if (rate >= min) return { verdict: "pass", words };
  // Requests arrive by chance (Poisson): so many more could have been.
  const likely = tried.requests + SURE * Math.sqrt(tried.requests + 1);
  return { verdict: likely < min * seconds ? "fail" : "inconclusive", words };
}

interface Share {
  bad: number;
  of: number;
  limit: number;
  sample: number;
  /** The size of the smaller sample. */
  enough?: number;
}

function judgeShare({ bad, of, limit, sample, enough = of }: Share, words: string): Look {
  if (bad >= FEWEST_BAD && lowerBound(bad, of) > limit) return { verdict: "fail", words };
  if (enough < sample) return { verdict: "inconclusive", words: `${words}: fewer than ${sample} to judge by` };
  return { verdict: bad / of <= limit ? "pass" : "inconclusive", words };
}

/** Wilson's interval for a share, to both sides. */
function wilson(bad: number, of: number): [lower: number, upper: number] {
  if (of === 0) return [0, 1];
  const share = bad / of;
  const square = SURE * SURE;
  const middle = share + square / (2 * of);
  const width = SURE * Math.sqrt((share * (1 - share)) / of + square / (4 * of * of));
  return [(middle - width) / (1 + square / of), (middle + width) / (1 + square / of)];
}

const lowerBound = (bad: number, of: number) => wilson(bad, of)[0];
const upperBound = (bad: number, of: number) => wilson(bad, of)[1];
const total = (counts: readonly number[]) => counts.reduce((sum, each) => sum + each, 0);

/** Requests that took certainly longer: those of the class in which the limit lies do not count. */
function slower(latencies: readonly number[], limitMs: number): number {
  return total(latencies.filter((_, bucket) => bucket > 0 && latencyBoundMs(bucket - 1) >= limitMs));
}

const ORDER = ["pass", "inconclusive", "fail"] as const;

function worst(looks: readonly Look[], words: string): Look {
  const found = looks.toSorted((a, b) => ORDER.indexOf(b.verdict) - ORDER.indexOf(a.verdict))[0];
  // A comparison whose other side has no requests on purpose says nothing against the new version.
  return found ?? { verdict: "pass", words: `${words}; there is nothing to compare it with` };
}

const percentage = (share: number) => `${Math.round(share * 10_000) / 100} %`;
const count = (requests: number) => `${requests} request${requests === 1 ? "" : "s"}`;

function time(ms: number): string {
  if (Number.isNaN(ms)) return "unknown";
  return ms < 10 ? `${Math.round(ms * 10) / 10} ms` : `${Math.round(ms)} ms`;
}
