import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { deployment } from "@hms/contracts";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { stepUnderWay } from "./testing/step-under-way.ts";
import { deploymentHost, openSite } from "./testing/test-site.ts";

const { RolloutState } = deployment;
const echo = { environment: "default", service: "echo" };

afterAll(() => deploymentHost[Symbol.asyncDispose]());

let site: Awaited<ReturnType<typeof openSite>>;
beforeEach(async () => {
  site = await openSite();
  await site.deploy({ version: "1", replicas: 1 });
});
afterEach(() => site[Symbol.asyncDispose]());

const versions = () => site.plane.active.map(({ revision }) => Number(revision));
/** JavaScript of a program that answers a path. */
const answers = (path: string, code: string) => `if (request.url === "${path}") { ${code} }`;
const said = ({ events }: Awaited<ReturnType<typeof site.deploy>>) =>
  events.flatMap(({ event }) => (event.case === "stepProgress" ? [event.value.message] : []));

test("what passes every gate serves; each says what it found", async () => {
  const told: unknown[] = [];
  const hook = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    told.push(JSON.parse(Buffer.concat(chunks).toString()));
    response.end();
  });
  await new Promise<void>((resolve) => hook.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = hook.address() as AddressInfo;
    const each =
      answers("/self", 'return response.end("fine");') + answers("/gve", 'return response.end(`{"status":"GREEN"}`);');
    const exec = `test "$HMS_GATE_REPLICA" && echo asked $HMS_REVISION`;
    const outcome = await site.deploy({
      version: "2",
      replicas: 1,
      each,
      manifest: `gates:
  - {http: /self}
  - {tcp: true}
  - {gve: /gve, name: values}
  - {exec: '${exec}', name: smoke}
  - {webhook: 'http://127.0.0.1:${port}/ask', name: hook}`,
    });
    expect(outcome.ended.state).toBe(RolloutState.SUCCEEDED);
    expect(
      said(outcome)
        .filter((line) => line.startsWith("Gate"))
        .toSorted(),
    ).toEqual([
      'Gate "hook" passes: HTTP 200',
      'Gate "http /self" passes: HTTP 200',
      'Gate "smoke" passes: exit code 0: asked 2',
      expect.stringMatching(/^Gate "tcp" passes: accepts connections on port \d+$/),
      'Gate "values" passes: GREEN',
    ]);
    const { revision, previousRevision } = { revision: 2, previousRevision: 1 };
    expect(told).toEqual([
      { ...echo, rolloutId: expect.any(String), revision, previousRevision, version: "2", share: 0, gate: "hook" },
    ]);
  } finally {
    hook.close();
  }
});

describe("a version that a gate refuses never gets a request, and the reason is told", () => {
  test.each([
    [
      "{http: /self}",
      answers("/self", 'response.statusCode = 503; return response.end("no money");'),
      /HTTP 503.*no money/,
    ],
    [
      "{gve: /v}",
      answers("/v", 'return response.end(`{"status":"RED","reason":"prices differ"}`);'),
      /RED: prices differ/,
    ],
    ["{gve: /v}", answers("/v", 'return response.end("all well");'), /neither GREEN, YELLOW nor RED: all well/],
    ["{exec: 'echo broken; exit 3'}", "", /exit code 3: broken/],
    ["{exec: 'sleep 30', timeout: 300ms}", "", /./],
    ["{grpc: ''}", "", /./],
    ["{webhook: 'http://169.254.169.254/latest'}", "", /network where no service is/],
    ["{webhook: 'http://127.0.0.1:9/'}", "", /ECONNREFUSED/],
  ])("%s", async (gate, each, reason) => {
    const { ended, titles } = await site.deploy({ version: "2", replicas: 1, each, manifest: `gates: [${gate}]` });
    expect(ended).toMatchObject({ state: RolloutState.ROLLED_BACK, revision: 1n });
    expect(ended.failure?.reason).toMatch(/^Gate "/);
    expect(ended.failure?.reason).toMatch(reason);
    expect(titles.some((title) => title.includes("in the mesh"))).toBe(false);
    expect(versions()).toEqual([1]);
  });
});

test("a gate may fail as often as it says before it refuses", async () => {
  const each = `globalThis.asked ??= 0; ${answers("/v", 'return response.end(globalThis.asked++ < 2 ? "RED" : "GREEN");')}`;
  const manifest = "gates: [{gve: /v, failures: 2, every: 1s}]";
  const outcome = await site.deploy({ version: "2", replicas: 1, each, manifest });
  expect(outcome.ended.state).toBe(RolloutState.SUCCEEDED);
  expect(said(outcome).filter((line) => line.startsWith("Gate"))).toEqual([
    'Gate "gve /v" found something: RED',
    'Gate "gve /v" passes: GREEN',
  ]);
});

test("YELLOW waits for a person, who lets it through or not", async () => {
  const each = answers("/v", 'return response.end(`{"status":"YELLOW","reason":"no such sale yet"}`);');
  const version = { version: "2", replicas: 1, each, manifest: "gates: [{gve: /v, every: 1s}]" };
  const first = site.deploy(version);
  await stepUnderWay(
    site.client,
    /^Waiting for the gates to pass, or for a person: gve \/v \(YELLOW: no such sale yet\)/,
  );
  expect(versions()).toEqual([1]);
  await site.client.abort({ ...echo, reason: "not today" });
  expect((await first).ended.state).toBe(RolloutState.ROLLED_BACK);
  const second = site.deploy(version);
  await stepUnderWay(site.client, /^Waiting for the gates to pass/);
  await site.client.promote({ ...echo, reason: "it is fine" });
  expect((await second).ended.state).toBe(RolloutState.SUCCEEDED);
  expect(versions()).toEqual([3]);
});

test("a gate under traffic undoes a batch that goes bad later, before the old replicas are gone", async () => {
  const each = `globalThis.begun ??= Date.now(); ${answers("/v", 'return response.end(Date.now() - globalThis.begun > 1500 ? "RED" : "GREEN");')}`;
  const manifest = "gates: [{gve: /v, at: traffic, every: 1s, window: 5s}]";
  const { ended, titles } = await site.deploy({ version: "2", replicas: 1, each, manifest });
  expect(ended).toMatchObject({ state: RolloutState.ROLLED_BACK, revision: 1n });
  expect(titles.some((title) => title.includes("in the mesh"))).toBe(true);
  expect(titles.some((title) => title.includes("of revision 1 started again"))).toBe(false);
});
