import { expect, test } from "vitest";
import { type Kept, Reservoir } from "./reservoir.ts";

/** The same numbers for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function pass<T>(reservoir: Reservoir<T>, values: Iterable<T>): void {
  for (const value of values) if (reservoir.isDue()) reservoir.keep(value);
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => from + n);
const weightOf = ({ values, total }: Kept<unknown>) => total / values.length;

test("what fits is kept whole, and a window without anything is empty", () => {
  const reservoir = new Reservoir<number>(10, seeded(1));
  expect(reservoir.take()).toEqual({ values: [], total: 0 });
  pass(reservoir, numbers(0, 10));
  expect(reservoir.take()).toEqual({ values: numbers(0, 10), total: 10 });
  expect(reservoir.take()).toEqual({ values: [], total: 0 });
});

test.each([11, 100, 12_345])("of %i exactly ten are kept, all different, and the total is right", (count) => {
  const reservoir = new Reservoir<number>(10, seeded(count));
  for (let window = 0; window < 20; window += 1) {
    pass(reservoir, numbers(0, count));
    const { values, total } = reservoir.take();
    expect(total).toBe(count);
    expect(new Set(values).size).toBe(10);
  }
});

test("an estimate of 10,000 requests by the weights is unbiased within its error, also of what comes in step", () => {
  // Every fourth one fails, as a client in step with the sampler would have it, and all of the last quarter are slow.
  const isFailed = (n: number) => n % 4 === 0;
  const isSlow = (n: number) => n >= 7_500;
  const reservoir = new Reservoir<number>(10, seeded(7));
  const trials = 400;
  let [failed, slow, all] = [0, 0, 0];
  for (let trial = 0; trial < trials; trial += 1) {
    // Windows of other sizes, as seconds have them.
    for (const [from, to] of [
      [0, 40],
      [40, 3_000],
      [3_000, 3_007],
      [3_007, 10_000],
    ] as const) {
      pass(reservoir, numbers(from, to));
      const kept = reservoir.take();
      all += kept.values.length * weightOf(kept);
      failed += kept.values.filter(isFailed).length * weightOf(kept);
      slow += kept.values.filter(isSlow).length * weightOf(kept);
    }
  }
  expect(all / trials).toBeCloseTo(10_000, 6);
  // One trial's standard error is at most that of ten draws of the two large windows; four of those of the mean are allowed.
  const variance = (share: number, size: number) => (size ** 2 * share * (1 - share)) / 10;
  const error = (...variances: number[]) => 4 * Math.sqrt(variances.reduce((a, b) => a + b) / trials);
  expect(Math.abs(failed / trials - 2_500)).toBeLessThan(error(variance(1 / 4, 2_960), variance(1 / 4, 6_993), 300));
  expect(Math.abs(slow / trials - 2_500)).toBeLessThan(error(variance(2_500 / 6_993, 6_993)));
});

test("each place has the same chance, the first and the last as well", () => {
  const reservoir = new Reservoir<number>(5, seeded(3));
  const counts = new Array<number>(50).fill(0);
  const trials = 20_000;
  for (let trial = 0; trial < trials; trial += 1) {
    pass(reservoir, numbers(0, 50));
    for (const value of reservoir.take().values) counts[value] = (counts[value] as number) + 1;
  }
  // A tenth of 20,000 is 2,000, with a standard error of 42.
  for (const count of counts) expect(Math.abs(count - 2_000)).toBeLessThan(5 * 42.5);
});

test("gaps are not the same twice, so nobody can step between them", () => {
  const reservoir = new Reservoir<number>(1, seeded(9));
  const gaps = new Set<number>();
  for (let window = 0; window < 200; window += 1) {
    pass(reservoir, numbers(0, 100));
    gaps.add(reservoir.take().values[0] as number);
  }
  expect(gaps.size).toBeGreaterThan(70);
});
