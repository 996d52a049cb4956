import { expect, test } from "vitest";
import { CountedSum } from "./counted-sum.ts";

const report = (values: number[], own: { since?: string; inFlight?: number; at?: number } = {}) => ({
  ...{ since: "1", inFlight: 0, waiting: 0, at: 0 },
  ...own,
  values: Float64Array.from(values),
});

test("sums what several data planes count, each from its own beginning", () => {
  const sum = new CountedSum(2);
  sum.take("a", report([5, 1]));
  sum.take("b", report([7, 2]));
  sum.take("a", report([6, 1]));
  expect([...sum.values]).toEqual([13, 3]);
});

test("goes on when a data plane starts anew, or counts anew, and never falls", () => {
  const sum = new CountedSum(1);
  sum.take("a", report([100]));
  sum.take("b", report([3]));
  sum.take("a", report([4], { since: "2" }));
  expect([...sum.values]).toEqual([107]);
});

test("adds nothing of a report that comes twice, or late", () => {
  const sum = new CountedSum(2);
  for (const values of [
    [9, 5],
    [9, 5],
    [8, 4],
    [9, 6],
  ])
    sum.take("a", report(values));
  expect([...sum.values]).toEqual([9, 6]);
});

test("tells what runs as long as reports are fresh, and for how long it has run beyond them, up to then", () => {
  const sum = new CountedSum(1);
  sum.take("a", report([0], { inFlight: 4, at: 1_000 }));
  sum.take("b", report([0], { inFlight: 1, at: 2_000 }));
  expect([sum.gauges(2_500).inFlight, sum.runningMs(2_500)]).toEqual([5, 4 * 1_500 + 500]);
  expect([sum.gauges(4_500).inFlight, sum.runningMs(4_500)]).toEqual([1, 4 * 3_000 + 2_500]);
  expect([sum.gauges(9_000).inFlight, sum.runningMs(9_000)]).toEqual([0, 5 * 3_000]);
});

test("keeps no more than 64 data planes apart, and what the others counted", () => {
  const sum = new CountedSum(1);
  for (let node = 0; node < 100; node++) sum.take(String(node), report([1], { inFlight: 1 }));
  expect([sum.values[0], sum.gauges(0).inFlight]).toEqual([100, 64]);
});

test("is told from every other sum by its beginning", () => {
  expect(new Set(Array.from({ length: 9 }, () => new CountedSum(1).countedSince)).size).toBe(9);
});
