import { describe, expect, it } from "vitest";
import { LATENCY_BUCKETS, latencyBoundMs, latencyBucket, latencyQuantileMs } from "./latency-buckets.ts";

function counted(times: readonly number[]): Float64Array {
  const counts = new Float64Array(LATENCY_BUCKETS);
  for (const time of times) counts[latencyBucket(time)] = (counts[latencyBucket(time)] as number) + 1;
  return counts;
}

/** The smallest time that a share of all is not above. */
const exact = (times: readonly number[], share: number) =>
  [...times].sort((a, b) => a - b)[Math.max(Math.ceil(share * times.length), 1) - 1] as number;

/** Numbers from 0 to 1, the same ones each time. */
function* steps(count: number): Generator<number> {
  for (let i = 1; i <= count; i++) yield (i * 0.618_033_988_749_895) % 1;
}

describe("a class of response times", () => {
  it("holds what its bounds say, also at them", () => {
    for (let ms = 0.3; ms < 40_000; ms *= 1.003) {
      const bucket = latencyBucket(ms);
      expect(ms).toBeLessThanOrEqual(latencyBoundMs(bucket) * 1.000_001);
      expect(ms).toBeGreaterThanOrEqual(latencyBoundMs(bucket - 1) * 0.999_999);
    }
    expect([0, 0.1, 0.249, -1, Number.NaN].map(latencyBucket)).toEqual([0, 0, 0, 0, 0]);
    expect([42_000, 1e9, Number.POSITIVE_INFINITY].map(latencyBucket)).toEqual([127, 127, 127]);
    expect(latencyBoundMs(127)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("a quantile of counted times", () => {
  it.each<[string, (x: number) => number]>([
    ["spread evenly", (x) => 1 + x * 99],
    ["with a long tail", (x) => 2 / (1 - x * 0.999)],
    ["of two kinds", (x) => (x < 0.9 ? 3 + x : 800 + x * 50)],
    ["all the same", () => 17],
    ["of microseconds to seconds", (x) => 0.3 * 1e5 ** x],
  ])("is within 5 %% of the exact one, of times %s", (_, timeOf) => {
    const times = [...steps(5_000)].map(timeOf);
    const counts = counted(times);
    for (const share of [0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1]) {
      expect(Math.abs(latencyQuantileMs(counts, share) / exact(times, share) - 1)).toBeLessThanOrEqual(0.05);
    }
  });

  it("of nothing is no number, and zeros at the end may be left out", () => {
    expect(latencyQuantileMs([], 0.5)).toBeNaN();
    expect(latencyQuantileMs([0, 0], 0.5)).toBeNaN();
    const counts = counted([5, 6, 7]);
    expect(latencyQuantileMs(counts.slice(0, latencyBucket(7) + 1), 0.99)).toBe(latencyQuantileMs(counts, 0.99));
  });
});
