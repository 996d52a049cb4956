import { mesh } from "@hms/contracts";
import type { RequestDenial, RequestSample, RevisionTraffic, SensorReadings, ServiceTraffic } from "@hms/proxy";
import { beforeEach, expect, test } from "vitest";
import { SensorReport } from "./sensor-report.ts";

const sample: RequestSample = {
  environment: "default",
  service: "svc",
  revision: 3,
  endpointId: "svc-1",
  method: "GET",
  route: "/users/{id}",
  status: 200,
  headMs: 1.5,
  traceId: "0af7651916cd43dd8448eb211c80319c",
  endedAt: 5_000,
};
const denial: RequestDenial = {
  environment: "default",
  service: "svc",
  method: "GET",
  route: "/users/{id}",
  status: 429,
  rule: "limit:address",
  principal: "",
  network: "192.0.2.0/24",
  endedAt: 5_000,
};
const nothing: SensorReadings = { requests: { values: [], total: 0 }, denials: { values: [], total: 0 } };

let readings: SensorReadings;
let revisions: RevisionTraffic[];
let report: SensorReport;

beforeEach(() => {
  readings = nothing;
  revisions = [];
  report = new SensorReport({
    takeSensors: () => {
      const taken = readings;
      readings = nothing;
      return taken;
    },
    traffic: (): ServiceTraffic[] => {
      const load = { countedSince: 1, requests: 0, busyMs: 0, inFlight: 0, waiting: 0 };
      return [{ environment: "default", service: "svc", load, revisions, triedUnavailable: 0, baselineUnavailable: 0 }];
    },
  });
});

function counted(successful: number, { countedSince = 1, inFlight = 0 } = {}): RevisionTraffic {
  const none = { informational: 0, redirection: 0, clientError: 0, serverError: 0, broken: 0, cancelled: 0 };
  const latencies = [0, 0, successful];
  return { revision: 3, countedSince, answers: { ...none, successful }, latencies, latencySumMs: 0, inFlight };
}

test("each sample says how many requests it stands for, by which way, and no path", () => {
  const inMesh = { ...sample, route: "" };
  readings = { requests: { values: [sample, inMesh], total: 50 }, denials: { values: [denial], total: 3 } };
  const { sensed, isEmpty } = report.news(10_001);
  expect(isEmpty).toBe(false);
  expect(sensed.samples).toMatchObject([
    { weight: 25, entrance: mesh.Entrance.GATEWAY, route: "/users/{id}", revision: 3n, headMs: 1.5 },
    { weight: 25, entrance: mesh.Entrance.MESH, route: "" },
  ]);
  expect(sensed.denials).toMatchObject([{ weight: 3, rule: "limit:address", network: "192.0.2.0/24" }]);
});

test("is asked at most once a second, and has nothing to say of nothing", () => {
  expect(report.news(10_001).isEmpty).toBe(true);
  readings = { ...nothing, requests: { values: [sample], total: 1 } };
  expect(report.news(10_500)).toMatchObject({ isEmpty: true, sensed: {} });
  expect(report.news(11_001).sensed.samples).toHaveLength(1);
});

test("what does not arrive is not said again, only how many it were, with the next ones and once", () => {
  readings = { requests: { values: [sample], total: 40 }, denials: { values: [denial], total: 2 } };
  report.news(10_001).settle(false);
  readings = { ...nothing, denials: { values: [denial], total: 1 } };
  const second = report.news(11_001);
  expect(second.sensed).toMatchObject({ samples: [], samplesLeftOut: 0n, denialsLeftOut: 2n });
  second.settle(true);
  readings = { requests: { values: [sample], total: 5 }, denials: { values: [denial], total: 1 } };
  const third = report.news(12_001);
  expect(third.sensed).toMatchObject({ samplesLeftOut: 40n, denialsLeftOut: 0n });
  third.settle(true);
  readings = { ...nothing, requests: { values: [sample], total: 1 } };
  expect(report.news(13_001).sensed.samplesLeftOut).toBe(0n);
});

test("every ten seconds by the clock it says what revisions have answered since, and again if that did not arrive", () => {
  revisions = [counted(4)];
  expect(report.news(19_000).sensed.measures).toEqual([]);
  const first = report.news(20_000);
  expect(first.sensed.measures).toMatchObject([{ revision: 3n, periodMs: 1_000n, answers: { successful: 4n } }]);
  first.settle(true);
  expect(report.news(29_999).sensed.measures).toEqual([]);
  revisions = [counted(10)];
  report.news(31_000).settle(false);
  revisions = [counted(11)];
  const again = report.news(32_000);
  expect(again.sensed.measures).toMatchObject([
    { periodMs: 12_000n, answers: { successful: 7n }, latencies: [0n, 0n, 7n] },
  ]);
  again.settle(true);
  revisions = [counted(2, { countedSince: 9 })];
  const anew = report.news(41_000);
  expect(anew.sensed.measures).toMatchObject([{ answers: { successful: 2n } }]);
  anew.settle(true);
  expect(report.news(51_000).isEmpty).toBe(true);
  revisions = [counted(2, { countedSince: 9, inFlight: 1 })];
  expect(report.news(62_000).sensed.measures).toMatchObject([{ inFlight: 1, answers: { successful: 0n } }]);
});
