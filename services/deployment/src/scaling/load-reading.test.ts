import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { mesh } from "@hms/contracts";
import { expect, test } from "vitest";
import { averageConcurrency, loadReading } from "./load-reading.ts";

function answer(atMs: number, load?: { since: number; busyMs: number }) {
  const counted = load && { countedSince: timestampFromMs(load.since), busyMs: load.busyMs, waiting: 2 };
  const services = counted ? [{ environment: "default", service: "a", load: counted }] : [];
  return create(mesh.GetTrafficResponseSchema, { services, measuredAt: timestampFromMs(atMs) });
}

const reading = (...of: Parameters<typeof answer>) => loadReading(answer(...of), "a");

test("requests at once are the busy time by the time between two readings", () => {
  const before = reading(10_000, { since: 1, busyMs: 400 });
  expect(averageConcurrency(before, reading(12_000, { since: 1, busyMs: 7_400 }))).toBe(3.5);
});

test("a service of which nothing was ever counted is idle, and what is counted first has begun since", () => {
  expect(averageConcurrency(reading(10_000), reading(12_000))).toBe(0);
  expect(averageConcurrency(reading(10_000), reading(12_000, { since: 11_000, busyMs: 1_000 }))).toBe(0.5);
});

test("counts that began anew, and readings of the same moment, say nothing", () => {
  const before = reading(10_000, { since: 1, busyMs: 400 });
  expect(averageConcurrency(before, reading(12_000, { since: 2, busyMs: 0 }))).toBeUndefined();
  expect(averageConcurrency(before, reading(10_000, { since: 1, busyMs: 500 }))).toBeUndefined();
});
