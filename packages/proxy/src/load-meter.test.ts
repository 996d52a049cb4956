import { expect, it } from "vitest";
import { LoadMeter } from "./load-meter.ts";

it("adds up for how long requests have run, those that still run included, whatever the order of late times", () => {
  const meter = new LoadMeter();
  meter.begin(1_000);
  meter.begin(1_100);
  expect(meter.busyMs(1_200)).toBe(300);
  meter.end(1_150);
  expect([meter.requests, meter.running, meter.busyMs(1_300)]).toEqual([2, 1, 400]);
  meter.end(1_400);
  expect([meter.requests, meter.running, meter.busyMs(9_000)]).toEqual([2, 0, 500]);
});

it("is told from one that began before", () => {
  const begins = Array.from({ length: 5 }, () => new LoadMeter().countedSince);
  expect(new Set(begins).size).toBe(5);
});
