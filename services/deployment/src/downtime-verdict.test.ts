import { parseManifest } from "@hms/manifest";
import { describe, expect, test } from "vitest";
import { downtimeVerdict, type ServingNow } from "./downtime-verdict.ts";
import type { ServiceRecord } from "./service-record.ts";

const START = "name: echo\nrun: {command: node server.js}\nhealth: {http: /healthz}\n";
const read = (more = "") => parseManifest(START + more);

function serving(more = "", change: Partial<ServiceRecord> = {}): ServingNow & { record: ServiceRecord } {
  const manifest = read(more);
  const revision = { revision: 1, manifest, sourceDirectory: "/", releaseDigest: "", createdAt: new Date() };
  const replica = { id: "a", revision: 1, ordinal: 1, phase: "running", traffic: "active", proven: "" } as const;
  const record: ServiceRecord = {
    environment: "default",
    service: "echo",
    owner: "",
    currentRevision: 1,
    trafficRevision: 1,
    wanted: 1,
    asleep: false,
    scaledTo: undefined,
    split: undefined,
    deployedAt: new Date(),
    replicas: [replica],
    revisions: new Map([[1, { ...revision, tag: "", secrets: {}, outcome: "good" }]]),
    running: undefined,
    ...change,
  };
  return { record, ready: 1 };
}

const verdict = (manifest: string, now: ServingNow) => {
  const { zeroDowntime, zeroDowntimeReasons } = downtimeVerdict(parseManifest(manifest), now);
  return { zeroDowntime, why: zeroDowntimeReasons.join("\n") };
};
const IN_ORDER = /^New replicas take traffic, confirmed by every data plane, before old ones give it up/;

describe("no request is lost", () => {
  test("where nothing serves yet", () => {
    expect(verdict(START, { record: undefined, ready: 0 })).toEqual({
      zeroDowntime: true,
      why: "Nothing serves now, so no request can be lost.",
    });
  });

  test("where the service is stopped, whatever changes", () => {
    const stopped = serving("routes: [{path: /echo}]", { replicas: [] });
    expect(verdict("name: echo\nrun: {command: x}", stopped)).toMatchObject({ zeroDowntime: true });
  });

  test("where no replica is healthy anyway", () => {
    const { zeroDowntime, why } = verdict(START, { ...serving(), ready: 0 });
    expect({ zeroDowntime, why }).toMatchObject({
      zeroDowntime: true,
      why: expect.stringMatching(/^No replica is healthy/),
    });
  });

  test("by the order of a rollout, with an HTTP check and time to finish", () => {
    expect(verdict(START, serving())).toMatchObject({ zeroDowntime: true, why: expect.stringMatching(IN_ORDER) });
  });

  test.each([
    ["routes are added", "", "routes: [{path: /echo}]"],
    ["a route lets more methods through", "routes: [{path: /e, methods: [GET]}]", "routes: [{path: /e}]"],
    ["GET lets HEAD through", "routes: [{path: /e, methods: [GET, HEAD]}]", "routes: [{path: /e, methods: [GET]}]"],
    ["port 80, which stays", "port: 80", "port: 3000"],
    ["requests end before replicas do", "mesh: {request_timeout: 5s}", "rollout: {drain_timeout: 5s}"],
  ])("where %s", (_, before, after) => {
    expect(verdict(START + after, serving(before))).toMatchObject({ zeroDowntime: true });
  });

  test("is said with what deserves a thought: fewer replicas, a release command beside the old version", () => {
    const now = serving("scaling: {min: 3}", { wanted: 3 });
    const after = "name: echo\nrun: {command: x, release: migrate}\nhealth: {http: /healthz}";
    const { zeroDowntime, why } = verdict(after, now);
    expect(zeroDowntime).toBe(true);
    expect(why).toContain("1 replica replaces 3: fewer carry the same traffic.");
    expect(why).toContain("The release command runs while the old version serves");
  });
});

describe("requests can be lost", () => {
  test.each([
    [
      "rollout.drain_timeout is 0",
      "",
      "rollout: {drain_timeout: 0s}",
      /drain_timeout is 0 s: requests that run .* are cut\. Give them time/,
    ],
    [
      "replicas end before requests must",
      "mesh: {request_timeout: 1m}",
      "",
      /Requests may run for 60 s .* stopped after 30 s .* Raise rollout\.drain_timeout to 60 s\./,
    ],
    ["a route is gone", "routes: [{path: /echo}]", "", /stops serving \/echo: such requests get 404/],
    [
      "a route loses methods",
      "routes: [{path: /echo}]",
      "routes: [{path: /echo, methods: [GET, POST]}]",
      /stops serving PUT, PATCH, DELETE, OPTIONS \/echo:/,
    ],
    [
      "the port is gone",
      "port: 3000",
      "",
      /Port 3000 of echo\.mesh closes: connections to echo\.mesh:3000 are refused/,
    ],
    ["the port is another", "port: 3000", "port: 3001", /Port 3000 of echo\.mesh closes/],
  ])("where %s, and it is said what to do", (_, before, after, why) => {
    const found = verdict(START + after, serving(before));
    expect(found).toMatchObject({ zeroDowntime: false, why: expect.stringMatching(why) });
    expect(found.why).not.toMatch(IN_ORDER);
  });

  test("where the health check cannot tell whether a program is ready", () => {
    const found = verdict("name: echo\nrun: {command: x}", serving());
    expect(found).toMatchObject({ zeroDowntime: false, why: expect.stringContaining("Set health.http.") });
  });

  test("for every reason at once", () => {
    const now = serving("routes: [{path: /echo}]\nport: 3000");
    const { why } = verdict("name: echo\nrun: {command: x}\nrollout: {drain_timeout: 0s}", now);
    expect(why.split("\n")).toHaveLength(4);
  });
});
