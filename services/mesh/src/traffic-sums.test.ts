import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { expect, test } from "vitest";
import { TrafficSums } from "./traffic-sums.ts";

const svc = { environment: "default", name: "svc" };

test("what is summed of more than 16 revisions is kept of those that were reported last", () => {
  const sums = new TrafficSums();
  for (let revision = 1n; revision <= 20n; revision++) {
    // The first one is asked for all the time.
    const revisions = [{ revision: 1n }, { revision }];
    sums.report("a", [create(mesh.ServiceTrafficSchema, { environment: "default", service: "svc", revisions })], 0);
  }
  const [service] = sums.list(svc, 0);
  const kept = Array.from({ length: 15 }, (_, index) => BigInt(index + 6));
  expect(service?.revisions.map(({ revision }) => revision)).toEqual([1n, ...kept]);
});

test("the time that requests have run never falls, also when less ran than was taken for sure", () => {
  const sums = new TrafficSums();
  const report = (busyMs: number, inFlight: number, now: number) => {
    const told = { environment: "default", service: "svc", load: { busyMs, inFlight } };
    sums.report("a", [create(mesh.ServiceTrafficSchema, told)], now);
  };
  const busyMs = (now: number) => sums.list(svc, now)[0]?.load.busyMs;
  report(100, 5, 1_000);
  expect([busyMs(1_000), busyMs(1_800)]).toEqual([100, 4_100]);
  report(600, 1, 2_000);
  expect([busyMs(2_000), busyMs(4_000)]).toEqual([4_100, 4_100]);
  report(9_000, 0, 9_000);
  expect([busyMs(9_000), busyMs(99_000)]).toEqual([9_000, 9_000]);
});
