import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { TrafficWindow } from "./traffic-window.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

/** Of so many requests in a class of times. */
function measure(revision: bigint, counts: Record<number, number>, failed = 0n, inFlight = 0): mesh.RevisionMeasure {
  const latencies = Array.from({ length: 100 }, (_, n) => BigInt(counts[n] ?? 0));
  const successful = latencies.reduce((sum, count) => sum + count, 0n);
  const answers = { successful, broken: failed };
  const place = { environment: "default", service: "svc", revision, periodMs: 10_000n };
  return create(mesh.RevisionMeasureSchema, { ...place, answers, latencies, inFlight });
}

test("what data planes measure at one moment is one word on each revision, with quantiles of all of it", () => {
  const told: mesh.TrafficMeasured[][] = [];
  using window = new TrafficWindow((all) => told.push(all), 2000);
  // Classes 20 and 40 are about 1.6 and 10.8 ms.
  window.take([measure(1n, { 20: 60 }, 2n, 1), measure(2n, { 20: 1 })]);
  vi.advanceTimersByTime(1500);
  window.take([measure(1n, { 20: 30, 40: 10 }, 0n, 2)]);
  expect(told).toEqual([]);
  vi.advanceTimersByTime(600);
  const [first, second] = told[0] ?? [];
  expect(first).toMatchObject({ revision: 1n, requests: 102n, inFlight: 3, periodMs: 10_000n });
  expect(first?.answers).toMatchObject({ successful: 100n, broken: 2n });
  expect(first?.p50Ms).toBeCloseTo(0.25 * 1.1 ** 19.5, 6);
  expect(first?.p95Ms).toBeCloseTo(0.25 * 1.1 ** 39.5, 6);
  expect(second).toMatchObject({ revision: 2n, requests: 1n });
  window.take([measure(1n, { 20: 5 })]);
  vi.advanceTimersByTime(2000);
  expect(told[1]).toMatchObject([{ revision: 1n, requests: 5n }]);
  vi.advanceTimersByTime(60_000);
  expect(told).toHaveLength(2);
});

test("a revision that has answered nothing has quantiles of 0, which is no number less", () => {
  const told: mesh.TrafficMeasured[] = [];
  using window = new TrafficWindow((all) => told.push(...all), 10);
  window.take([measure(1n, {}, 0n, 4)]);
  vi.advanceTimersByTime(10);
  expect(told).toMatchObject([{ requests: 0n, inFlight: 4, p50Ms: 0, p99Ms: 0 }]);
});
