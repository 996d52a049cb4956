import { latencyBoundMs } from "@hms/proxy/traffic-figures";
import { describe, expect, test } from "vitest";
import type { MetricQuestion } from "./gate.ts";
import { judgeMetric, type SideCounts } from "./metric-verdict.ts";

const side = (requests: number, failed = 0, latencies: number[] = []): SideCounts => ({ requests, failed, latencies });
const errors = (more: Partial<MetricQuestion> = {}): MetricQuestion => ({
  kind: "metric",
  metric: "error_rate",
  quantile: 0.99,
  sample: 100,
  ...more,
});
const verdict = (question: MetricQuestion, tried: SideCounts, baseline?: SideCounts, elapsedMs = 60_000) =>
  judgeMetric(question, { tried, baseline, elapsedMs }).verdict;

/** So many answers at each of these times. */
function times(...given: [ms: number, count: number][]): SideCounts {
  const latencies: number[] = [];
  for (const [ms, count] of given) {
    let bucket = 0;
    while (latencyBoundMs(bucket) < ms) bucket += 1;
    latencies[bucket] = (latencies[bucket] ?? 0) + count;
  }
  return side(
    given.reduce((sum, [, count]) => sum + count, 0),
    0,
    Array.from(latencies, (count) => count ?? 0),
  );
}

describe("the rate of errors", () => {
  const limit = errors({ max: { share: 0.01 } });

  test.each([
    ["nothing yet", side(0), "inconclusive"],
    ["too small a sample, all well", side(99), "inconclusive"],
    ["a sample that is well", side(100), "pass"],
    ["exactly the limit", side(1000, 10), "pass"],
    ["one bad request of one", side(1, 1), "inconclusive"],
    ["five of five: certain before the sample is full", side(5, 5), "fail"],
    ["a little over the limit, maybe by chance", side(200, 4), "inconclusive"],
    ["certainly over the limit", side(1000, 30), "fail"],
  ])("%s", (_, tried, expected) => {
    expect(verdict(limit, tried)).toBe(expected);
  });

  test.each([
    ["as good as the old version", side(1000, 10), side(1000, 10), "pass"],
    ["as bad as the old version is no fault of the new one", side(1000, 300), side(5000, 1500), "pass"],
    ["certainly worse", side(1000, 60), side(5000, 50), "fail"],
    ["bad beside one that never failed", side(1000, 20), side(1000, 0), "fail"],
    ["a few beside one that never failed, maybe by chance", side(1000, 4), side(1000, 0), "pass"],
    ["too little to compare with", side(1000, 0), side(50, 0), "inconclusive"],
    ["nothing to compare with, on purpose", side(1000, 500), undefined, "pass"],
  ])("beside the old version: %s", (_, tried, baseline, expected) => {
    expect(verdict(errors({ beside: 0.2 }), tried, baseline)).toBe(expected);
  });

  test("fails by its limit, whatever the old version did", () => {
    const both = errors({ max: { share: 0.01 }, beside: 0.2 });
    expect(verdict(both, side(1000, 300), side(5000, 1500))).toBe("fail");
  });

  test("says in numbers what it saw", () => {
    const { words } = judgeMetric(limit, { tried: side(1000, 30), baseline: undefined, elapsedMs: 1 });
    expect(words).toBe("3 % of 1000 requests failed, at most 1 % may");
  });
});

describe("latency", () => {
  const limit = errors({ metric: "latency", max: { ms: 250 } });

  test.each([
    ["too few", times([10, 99]), "inconclusive"],
    ["fast", times([10, 1000]), "pass"],
    ["one in a hundred may be slower", times([10, 990], [900, 10]), "pass"],
    ["certainly slower", times([10, 900], [900, 100]), "fail"],
    ["slower, maybe by chance", times([10, 195], [900, 5]), "inconclusive"],
  ])("by its limit: %s", (_, tried, expected) => {
    expect(verdict(limit, tried)).toBe(expected);
  });

  test.each([
    ["the same", times([100, 1000]), times([100, 1000]), "pass"],
    ["a tenth slower, where a fifth may be", times([110, 1000]), times([100, 1000]), "pass"],
    ["twice as slow", times([200, 1000]), times([100, 1000]), "fail"],
    ["nothing of the old version yet", times([200, 1000]), times(), "inconclusive"],
  ])("beside the old version: %s", (_, tried, baseline, expected) => {
    expect(verdict(errors({ metric: "latency", beside: 0.2 }), tried, baseline)).toBe(expected);
  });
});

describe("throughput", () => {
  const least = errors({ metric: "throughput", min: 5 });

  test.each([
    ["a second says nothing", side(0), 1000, "inconclusive"],
    ["enough", side(301), 60_000, "pass"],
    ["a little less, maybe by chance", side(290), 60_000, "inconclusive"],
    ["certainly less", side(100), 60_000, "fail"],
    ["none", side(0), 60_000, "fail"],
  ])("%s", (_, tried, elapsedMs, expected) => {
    expect(verdict(least, tried, undefined, elapsedMs)).toBe(expected);
  });
});

test("an equally good new version is hardly ever undone, a much worse one always is", () => {
  let seed = 7;
  const random = () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
  const failures = (rate: number) => {
    let tried = side(0);
    let baseline = side(0);
    // A look every ten seconds, for five minutes, with ten and ninety requests in a second.
    for (let look = 0; look < 30; look += 1) {
      const bad = (count: number, share: number) =>
        Array.from({ length: count }, random).filter((x) => x < share).length;
      tried = side(tried.requests + 100, tried.failed + bad(100, rate));
      baseline = side(baseline.requests + 900, baseline.failed + bad(900, 0.01));
      if (verdict(errors({ beside: 0.5 }), tried, baseline) === "fail") return true;
    }
    return false;
  };
  const share = (rate: number) => Array.from({ length: 200 }, () => failures(rate)).filter(Boolean).length / 200;
  expect(share(0.01)).toBeLessThan(0.02);
  expect(share(0.06)).toBe(1);
});
