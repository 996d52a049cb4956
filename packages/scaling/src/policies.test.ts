import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConcurrencyPolicy } from "./concurrency-policy.ts";
import { CpuPolicy } from "./cpu-policy.ts";
import { RecommendationWindow } from "./recommendation-window.ts";
import type { LoadSample, ScalingPolicy } from "./scaling-policy.ts";
import { UtilizationPolicy } from "./utilization-policy.ts";

const TICK_MS = 2000;

/** Asks a policy every 2 s, as if whatever it says was there at once. */
function follow(policy: ScalingPolicy, from: number, load: (second: number) => Partial<LoadSample>, seconds: number) {
  let replicas = from;
  const said: number[] = [];
  for (let atMs = 0; atMs <= seconds * 1000; atMs += TICK_MS) {
    const sample = { atMs, concurrency: 0, cpu: undefined, ready: replicas, replicas, ...load(atMs / 1000) };
    replicas = policy.recommend(sample).replicas;
    said.push(replicas);
  }
  return said;
}

describe("concurrency", () => {
  const policy = () => new ConcurrencyPolicy({ concurrency: 10 });

  test("needs what the average of a minute needs: 70 % of each replica's share", () => {
    expect(follow(policy(), 1, () => ({ concurrency: 21 }), 120).at(-1)).toBe(3);
    expect(follow(policy(), 1, () => ({ concurrency: 21.1 }), 120).at(-1)).toBe(4);
  });

  test("a load that doubles what is ready within six seconds is answered within six, not within a minute", () => {
    const said = follow(policy(), 1, (second) => ({ concurrency: second <= 60 ? 7 : 70 }), 66);
    expect(said[30]).toBe(1);
    expect(said.at(-1)).toBe(10);
  });

  test("a load that grows by less than that waits for the average", () => {
    const said = follow(policy(), 4, (second) => ({ concurrency: second < 130 ? 28 : 42, ready: 4 }), 140);
    expect(said.at(-1)).toBe(5);
  });

  test("while it panics it lets no replica go, and does once a whole minute has passed since", () => {
    const load = (second: number) => ({ concurrency: second < 6 ? 70 : 7, ready: 1 });
    const said = follow(policy(), 1, load, 200);
    const top = Math.max(...said);
    expect(said.lastIndexOf(top) * 2).toBeGreaterThanOrEqual(60);
    expect(said.at(-1)).toBe(1);
  });

  test("one that has just started lets nothing go before it has seen a whole minute", () => {
    const said = follow(policy(), 8, () => ({ concurrency: 0 }), 70);
    expect(said.slice(0, 31)).toEqual(Array.from({ length: 31 }, () => 8));
    expect(said.at(-1)).toBeLessThan(8);
  });

  test("never lets go of more than half of what is ready at once", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(500), { minLength: 40, maxLength: 120 }),
        fc.integer({ min: 1, max: 40 }),
        (loads, n) => {
          const said = [
            n,
            ...follow(policy(), n, (second) => ({ concurrency: loads[second / 2] ?? 0 }), loads.length * 2),
          ];
          for (const [index, count] of said.entries()) {
            if (index > 0) expect(count).toBeGreaterThanOrEqual(Math.floor(Math.max(1, said[index - 1] ?? 0) / 2));
          }
        },
      ),
    );
  });

  test("whatever the load did, from a constant one on it comes to what that needs, and stays there", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(300), { maxLength: 60 }), fc.integer({ min: 1, max: 200 }), (before, constant) => {
        const load = (second: number) => ({ concurrency: before[second / 2] ?? constant });
        const said = follow(policy(), 3, load, before.length * 2 + 200);
        expect(new Set(said.slice(-20))).toEqual(new Set([Math.ceil(constant / 7 - 1e-9)]));
      }),
    );
  });

  test("what it panics about only grows", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(500), { minLength: 10, maxLength: 100 }), (loads) => {
        const own = policy();
        let replicas = 2;
        for (const [index, concurrency] of loads.entries()) {
          const said = own.recommend({ atMs: index * TICK_MS, concurrency, cpu: undefined, ready: replicas, replicas });
          if (said.figures.panicking === 1) expect(said.replicas).toBeGreaterThanOrEqual(replicas);
          replicas = said.replicas;
        }
      }),
    );
  });
});

describe("70/30", () => {
  test("one more above 70 %, one fewer below 30 %, each 15 s; nothing in between, nor if nothing is known", () => {
    expect(follow(new CpuPolicy(), 2, () => ({ cpu: 0.71 }), 64).at(-1)).toBe(6);
    expect(follow(new CpuPolicy(), 6, () => ({ cpu: 0.29 }), 64).at(-1)).toBe(2);
    for (const cpu of [0.3, 0.5, 0.7, undefined]) {
      expect(new Set(follow(new CpuPolicy(), 4, () => ({ cpu }), 300))).toEqual(new Set([4]));
    }
  });

  test("does not go up and down under a load that stays, from two replicas on", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.65, max: 20, noNaN: true }), fc.integer({ min: 2, max: 30 }), (work, start) => {
        let replicas = start;
        const policy = new CpuPolicy();
        const directions = new Set<number>();
        for (let atMs = 0; atMs < 1_200_000; atMs += TICK_MS) {
          const cpu = Math.min(1, work / replicas);
          const next = policy.recommend({ atMs, concurrency: 1, cpu, ready: replicas, replicas }).replicas;
          if (next !== replicas) directions.add(Math.sign(next - replicas));
          replicas = next;
        }
        expect(directions.size).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("Kubernetes' rule", () => {
  test("brings the processor time to its target, with a tolerance of 10 %, each 15 s", () => {
    expect(follow(new UtilizationPolicy(0.7), 4, () => ({ cpu: 0.76 }), 60).at(-1)).toBe(4);
    expect(follow(new UtilizationPolicy(0.7), 4, () => ({ cpu: 0.78 }), 0).at(-1)).toBe(5);
  });

  test("at most four more or twice as many at once, and what starts counts as using nothing", () => {
    const sample = { atMs: 0, concurrency: 0 };
    const said = (load: Pick<LoadSample, "cpu" | "ready" | "replicas">) =>
      new UtilizationPolicy(0.1).recommend({ ...sample, ...load }).replicas;
    expect(said({ cpu: 1, ready: 2, replicas: 2 })).toBe(6);
    expect(said({ cpu: 1, ready: 8, replicas: 8 })).toBe(16);
    expect(said({ cpu: 0.2, ready: 2, replicas: 4 })).toBe(4);
  });

  test("lets replicas go only when fewer were enough for five minutes", () => {
    const said = follow(new UtilizationPolicy(0.7), 8, (second) => ({ cpu: second < 15 ? 0.7 : 0.35 }), 400);
    expect(said.indexOf(4) * 2).toBeGreaterThanOrEqual(300);
    expect(said.at(-1)).toBeLessThan(8);
  });
});

test("a window names the highest number in it, and forgets those before it", () => {
  const window = new RecommendationWindow(1000);
  expect([window.highest(0, 5), window.highest(500, 3), window.highest(1000, 1)]).toEqual([5, 5, 5]);
  expect([window.highest(1001, 1), window.highest(1501, 1)]).toEqual([3, 1]);
});
