import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConcurrencyPolicy } from "./concurrency-policy.ts";
import { ReplicaScaler, type ScalingBounds } from "./replica-scaler.ts";
import type { ScalingPolicy } from "./scaling-policy.ts";

const TICK_MS = 2000;
const HOUR_MS = 3_600_000;
const bounds = { min: 1, max: 10, stabilizationMs: 0, idleMs: 30_000 };

/** A policy that says what it is told to. */
const says = (replicas: (atMs: number) => number): ScalingPolicy => ({
  recommend: ({ atMs }) => ({ replicas: replicas(atMs), why: "it is told so", figures: {} }),
});

interface Course {
  from: number;
  seconds: number;
  concurrency?: (second: number) => number;
  beginMs?: number;
}

function follow(scaler: ReplicaScaler, { from, seconds, concurrency = () => 1, beginMs = 0 }: Course) {
  let replicas = from;
  const decisions = [];
  for (let ms = 0; ms <= seconds * 1000; ms += TICK_MS) {
    const load = { concurrency: concurrency(ms / 1000), cpu: undefined };
    const decision = scaler.decide({ atMs: beginMs + ms, ...load, ready: replicas, replicas });
    replicas = decision.to;
    decisions.push(decision);
  }
  return decisions;
}

test("is never outside of its bounds, whatever a policy says, and says which one held it", () => {
  const course = fc.record({
    min: fc.integer({ min: 0, max: 5 }),
    more: fc.integer({ min: 1, max: 20 }),
    said: fc.array(fc.nat(60), { minLength: 1, maxLength: 60 }),
    stabilizationMs: fc.constantFrom(0, 10_000, 60_000),
  });
  fc.assert(
    fc.property(course, ({ min, more, said, stabilizationMs }) => {
      const own: ScalingBounds = { min, max: min + more, stabilizationMs, idleMs: 10_000 };
      const scaler = new ReplicaScaler(
        says((atMs) => said[atMs / TICK_MS] ?? 0),
        own,
      );
      for (const { to, limits, recommendation } of follow(scaler, { from: min, seconds: said.length * 2 })) {
        expect(to).toBeGreaterThanOrEqual(min);
        expect(to).toBeLessThanOrEqual(min + more);
        if (recommendation.replicas !== to) expect(limits).not.toEqual([]);
      }
    }),
  );
});

test("replicas go only once no more were needed for the whole stabilization, and come at once", () => {
  const scaler = new ReplicaScaler(
    says((atMs) => (atMs < 10_000 ? 8 : 2)),
    { ...bounds, stabilizationMs: 60_000 },
  );
  const decisions = follow(scaler, { from: 1, seconds: 90 });
  expect(decisions[0]?.to).toBe(8);
  expect(decisions.findIndex(({ to }) => to === 2) * TICK_MS).toBe(70_000);
  expect(decisions[10]?.reason).toContain("scaling.stabilization");
});

describe("scale to zero", () => {
  const idle = { ...bounds, min: 0 };

  test("only after a whole quiet time, which a server that has just started has not seen", () => {
    const decisions = follow(
      new ReplicaScaler(
        says(() => 0),
        idle,
      ),
      {
        from: 1,
        seconds: 100,
        concurrency: (second) => (second === 40 ? 1 : 0),
      },
    );
    const zeros = decisions.flatMap(({ to, atMs }) => (to === 0 ? [atMs] : []));
    expect(zeros[0]).toBe(30_000);
    expect(decisions.find(({ atMs }) => atMs === 40_000)?.to).toBe(1);
    expect(zeros.find((atMs) => atMs > 40_000)).toBe(70_000);
  });

  test("does not wait for longer averages, which still know of the last request", () => {
    const scaler = new ReplicaScaler(new ConcurrencyPolicy({ concurrency: 10 }), { ...idle, stabilizationMs: 120_000 });
    const decisions = follow(scaler, { from: 1, seconds: 60, concurrency: (second) => (second < 10 ? 3 : 0) });
    expect(decisions.find(({ to }) => to === 0)?.atMs).toBe(38_000);
    expect(decisions.at(-1)?.reason).toContain("no request came for 30 s");
  });

  test("with a minimum above it there is no zero", () => {
    expect(
      follow(
        new ReplicaScaler(
          says(() => 0),
          bounds,
        ),
        { from: 1, seconds: 60, concurrency: () => 0 },
      ).at(-1)?.to,
    ).toBe(1);
  });
});

describe("the cost cap", () => {
  test("a day never costs more, whatever the load, and the minimum always runs", () => {
    const day = fc.record({
      load: fc.array(fc.nat(200), { minLength: 24, maxLength: 24 }),
      spare: fc.integer({ min: 0, max: 100 }),
      min: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(day, ({ load, spare, min }) => {
        const maxReplicaHours = 24 * min + spare;
        const own = { ...bounds, min, maxReplicaHours };
        const scaler = new ReplicaScaler(new ConcurrencyPolicy({ concurrency: 10 }), own);
        let replicas = min;
        let used = 0;
        for (let atMs = 0; atMs < 24 * HOUR_MS; atMs += 30_000) {
          const concurrency = load[Math.floor(atMs / HOUR_MS)] ?? 0;
          replicas = scaler.decide({ atMs, concurrency, cpu: undefined, ready: replicas, replicas }).to;
          expect(replicas).toBeGreaterThanOrEqual(min);
          used += replicas * 30_000;
        }
        // Decisions come each 30 s here: one of them may be late.
        expect(used).toBeLessThanOrEqual(maxReplicaHours * HOUR_MS + 10 * 30_000);
      }),
      { numRuns: 10 },
    );
  });

  test("says so, begins anew with the next day, and goes on from what was used before a restart", () => {
    const own = { ...bounds, maxReplicaHours: 30 };
    const used = { day: 0, replicaMs: 29.5 * HOUR_MS };
    const late = follow(
      new ReplicaScaler(
        says(() => 5),
        own,
        used,
      ),
      { from: 1, seconds: 60, beginMs: 20 * HOUR_MS },
    );
    expect(late.at(-1)).toMatchObject({ to: 1 });
    expect(late.at(-1)?.reason).toContain("30 replica hours of today are used up");
    const next = follow(
      new ReplicaScaler(
        says(() => 5),
        own,
        used,
      ),
      { from: 1, seconds: 60, beginMs: 24 * HOUR_MS },
    );
    expect(next.at(-1)).toMatchObject({ to: 5 });
  });
});
