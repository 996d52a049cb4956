import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { integrationEvents, mesh } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { nearTransports, openTestDatabase, openTestTransport, waitFor } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { createMeshService, type MeshTables, meshMigrations } from "./index.ts";
import type { EventBus } from "./sensor-news.ts";

const { ACTIVE } = mesh.EndpointState;
const network = { vipPrefix: "127.88", proxyPort: 3002 };
const impatient = { reconnectMs: 100, idleMs: 50, startMs: 0 };

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

async function openMesh(via: (typeof nearTransports)[number] = "in-process") {
  const { database } = stack.use(await openTestDatabase<MeshTables>({ service: "mesh", migrations: meshMigrations }));
  const open = async () => {
    const service = stack.use(createMeshService({ database, network, graces: impatient }));
    const transport = stack.use(await openTestTransport([service.registration], via));
    return transport.client(mesh.MeshService);
  };
  return { client: await open(), reopen: open };
}

type TrafficInit = MessageInitShape<typeof mesh.ServiceTrafficSchema>;

interface CountsInit {
  environment?: string;
  service?: string;
  triedUnavailable?: bigint;
  baselineUnavailable?: bigint;
  since?: number;
  busyMs?: number;
  inFlight?: number;
}

/** What a data plane says of a service: so many requests to each revision, all answered 200 in about 1 ms but the failed ones. */
function counts(
  revisions: Record<number, { ok: number; failed?: number; inFlight?: number }>,
  own: CountsInit = {},
): TrafficInit {
  const { since = 1_000, busyMs = 0, inFlight = 0, ...rest } = own;
  const all = Object.values(revisions).reduce((sum, { ok, failed = 0 }) => sum + ok + failed, 0);
  const countedSince = timestampFromMs(since);
  return {
    environment: "default",
    service: "svc",
    load: { countedSince, requests: BigInt(all), busyMs, inFlight, waiting: 0 },
    revisions: Object.entries(revisions).map(([revision, { ok, failed = 0, inFlight = 0 }]) => ({
      ...{ revision: BigInt(revision), countedSince, inFlight, latencySumMs: ok },
      answers: { successful: BigInt(ok), serverError: BigInt(failed) },
      latencies: [0n, 0n, BigInt(ok)],
    })),
    ...rest,
  };
}

const svc = { environment: "default", service: "svc" };

describe.each(nearTransports)("what data planes count, told %s", (via) => {
  test("is summed over them, and never falls when one starts anew or tells it twice", async () => {
    const { client } = await openMesh(via);
    const report = (nodeId: string, traffic: TrafficInit) => client.reportNode({ nodeId, traffic: [traffic] });
    const read = async () => (await client.getTraffic(svc)).services[0];
    expect((await client.getTraffic(svc)).services).toEqual([]);
    await report("a-1", counts({ 1: { ok: 90 }, 2: { ok: 8, failed: 2, inFlight: 1 } }, { triedUnavailable: 3n }));
    await report("b-1", counts({ 1: { ok: 10, inFlight: 2 } }, { baselineUnavailable: 1n }));
    const first = await read();
    expect(first).toMatchObject({
      ...svc,
      load: { requests: 110n },
      revisions: [
        { revision: 1n, answers: { successful: 100n, serverError: 0n }, latencies: [0n, 0n, 100n], inFlight: 2 },
        { revision: 2n, answers: { successful: 8n, serverError: 2n }, latencySumMs: 8, inFlight: 1 },
      ],
      triedUnavailable: 3n,
      baselineUnavailable: 1n,
    });
    await report("a-1", counts({ 1: { ok: 95 }, 2: { ok: 8, failed: 2 } }, { triedUnavailable: 3n }));
    await report("a-1", counts({ 1: { ok: 95 }, 2: { ok: 8, failed: 2 } }, { triedUnavailable: 3n }));
    // The process ends and another one counts from 0; a late word of the first one changes nothing.
    await report("a-2", counts({ 1: { ok: 1 } }, { since: 9_000 }));
    await report("a-1", counts({ 1: { ok: 90 }, 2: { ok: 8, failed: 2 } }));
    const second = await read();
    expect(second).toMatchObject({
      load: { requests: 116n, countedSince: first?.load?.countedSince },
      revisions: [
        { revision: 1n, answers: { successful: 106n }, countedSince: first?.revisions[0]?.countedSince },
        { revision: 2n, answers: { successful: 8n, serverError: 2n }, inFlight: 0 },
      ],
    });
  });
});

describe("what data planes count", () => {
  test("begins anew with the server, and says so", async () => {
    const { client, reopen } = await openMesh();
    const traffic = [counts({ 1: { ok: 7 } })];
    await client.reportNode({ nodeId: "a", traffic });
    const before = (await client.getTraffic(svc)).services[0];
    const next = await reopen();
    expect((await next.getTraffic(svc)).services).toEqual([]);
    await next.reportNode({ nodeId: "a", traffic });
    const after = (await next.getTraffic(svc)).services[0];
    expect(after?.load?.requests).toBe(7n);
    expect(after?.load?.countedSince).not.toEqual(before?.load?.countedSince);
    expect(after?.revisions[0]?.countedSince).not.toEqual(before?.revisions[0]?.countedSince);
  });

  test("gives the average of requests at once between two readings, without falling between reports", async () => {
    const { client } = await openMesh();
    const read = async () => {
      const { services, measuredAt } = await client.getTraffic(svc);
      return { busyMs: services[0]?.load?.busyMs ?? 0, at: measuredAt ? timestampMs(measuredAt) : 0 };
    };
    // Ten run all the time, as the data plane says each time it reports.
    const begun = performance.now();
    const report = () => {
      const busyMs = 10 * (performance.now() - begun);
      return client.reportNode({ nodeId: "a", traffic: [counts({}, { busyMs, inFlight: 10 })] });
    };
    await report();
    const first = await read();
    let last = first.busyMs;
    for (let round = 0; round < 30; round++) {
      if (round % 10 === 0) await report();
      await new Promise((resolve) => setTimeout(resolve, 10));
      const { busyMs } = await read();
      expect(busyMs).toBeGreaterThanOrEqual(last);
      last = busyMs;
    }
    const end = await read();
    expect((end.busyMs - first.busyMs) / (end.at - first.at)).toBeCloseTo(10, 0);
  });

  test("is told of one service or of an environment's, by name, never of another environment's", async () => {
    const { client } = await openMesh();
    const of = (environment: string, service: string) => counts({ 1: { ok: 1 } }, { environment, service });
    await client.reportNode({ nodeId: "a", traffic: [of("default", "b"), of("staging", "a"), of("default", "a")] });
    const names = async (request: { environment: string; service?: string }) =>
      (await client.getTraffic(request)).services.map(({ environment, service }) => `${environment}/${service}`);
    expect(await names({ environment: "default" })).toEqual(["default/a", "default/b"]);
    expect(await names({ environment: "staging", service: "a" })).toEqual(["staging/a"]);
    expect(await names({ environment: "staging", service: "b" })).toEqual([]);
    await expect(client.getTraffic({ environment: "" })).rejects.toThrow(/environment: nothing cannot be a host name/);
    await expect(client.getTraffic({ environment: "default", service: "A" })).rejects.toThrow(/"A" cannot be/);
  });

  test("is refused if nobody can have counted it, with every problem", async () => {
    const { client } = await openMesh();
    const impossible = counts({ 1: { ok: -1 } }, { service: "S", busyMs: Number.NaN, triedUnavailable: -2n });
    const refused = client.reportNode({ nodeId: "a", traffic: [counts({ 1: { ok: 1 } }), impossible] });
    await expect(refused).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: {
        fieldViolations: [
          { field: "traffic[1].service" },
          { field: "traffic[1].tried_unavailable" },
          { field: "traffic[1].load.requests" },
          { field: "traffic[1].load.busy_ms" },
          { field: "traffic[1].revisions[0].latency_sum_ms" },
          { field: "traffic[1].revisions[0].answers.successful" },
          { field: "traffic[1].revisions[0].latencies" },
        ],
      },
    });
    expect((await client.getTraffic(svc)).services).toEqual([]);
  });
});

describe("a split", () => {
  const endpoint = (endpointId: string, revision: bigint) => ({
    ...{ endpointId, host: "127.0.0.1", port: 20_000, state: ACTIVE, revision },
  });
  const endpoints = [endpoint("old", 1n), endpoint("new", 2n)];
  const service = (split: MessageInitShape<typeof mesh.TrafficSplitSchema>) => ({
    service: create(mesh.MeshServiceEntrySchema, { environment: "default", name: "svc", endpoints, split }),
  });

  test("reaches data planes that know it, and others as the side that gets most", async () => {
    const { client } = await openMesh();
    const set = await client.setService(
      service({ revision: 2n, share: 500, sticky: { by: { case: "address", value: true } } }),
    );
    expect(
      await client.setService(service({ revision: 2n, share: 500, sticky: { by: { case: "address", value: true } } })),
    ).toEqual(set);
    const firstOf = async (features: string[]) => {
      const call = new AbortController();
      for await (const { snapshot } of client.watchSnapshots(
        { nodeId: `n${features}`, features },
        { signal: call.signal },
      )) {
        call.abort();
        return fromBinary(mesh.SnapshotContentSchema, snapshot?.content ?? new Uint8Array()).services[0];
      }
    };
    expect((await firstOf(["split"]))?.split).toMatchObject({
      revision: 2n,
      share: 500,
      sticky: { by: { case: "address" } },
    });
    const older = await firstOf(["auth"]);
    expect(older?.split).toBeUndefined();
    expect(older?.endpoints.map(({ endpointId, weight }) => `${endpointId} ${weight}`)).toEqual(["new 0", "old 1000"]);
  });

  test("is refused if it cannot be kept, and what was set before stays", async () => {
    const { client } = await openMesh();
    const { snapshotVersion } = await client.setService(service({ revision: 2n, share: 100 }));
    const header = { of: { case: "header" as const, value: { name: "X-Beta", value: "" } } };
    await expect(client.setService(service({ revision: 9n, share: 10_001, matches: [header] }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/revision 9; .* 10001; use 0 to 10000, .* "X-Beta" .* lower case/),
    });
    expect(await client.getSnapshot({})).toMatchObject({
      version: snapshotVersion,
      content: { services: [{ split: { revision: 2n, share: 100 } }] },
    });
  });
});

test("what data planes sample is published for each environment, and a bus that is away holds up no report", async () => {
  const { database } = stack.use(await openTestDatabase<MeshTables>({ service: "mesh", migrations: meshMigrations }));
  const published: [topic: string, environment: string, events: { subject: string; data: object }[]][] = [];
  const changes: unknown[] = [];
  let isAway = false;
  const bus: EventBus = {
    async publish({ topic = "", environment = "", events = [] }) {
      if (isAway) throw new HmsError("UNAVAILABLE", "The bus is away.");
      const read = ({ subject = "", data = new Uint8Array(), dataSchema = "" }: (typeof events)[number]) => {
        expect(dataSchema).toMatch(/^hms-contract:hms\.sys\.mesh\.v1\./);
        return { subject, data: JSON.parse(new TextDecoder().decode(data)) };
      };
      published.push([topic, environment, events.map(read)]);
      return create(integrationEvents.PublishResponseSchema);
    },
  };
  const sensors = { bus, onChange: (error: unknown) => changes.push(error), gatherMs: 10 };
  const service = stack.use(createMeshService({ database, network, graces: impatient, sensors }));
  const transport = stack.use(await openTestTransport([service.registration], "in-process"));
  const client = transport.client(mesh.MeshService);

  const sample = {
    ...svc,
    entrance: mesh.Entrance.GATEWAY,
    route: "/a/{id}",
    method: "GET",
    status: 200,
    weight: 12.5,
  };
  const denial = { ...svc, route: "/a/{id}", status: 403, rule: "roles", principal: "user:anna", weight: 1 };
  const answers = { successful: 8n, serverError: 2n };
  const measure = { ...svc, revision: 2n, periodMs: 10_000n, answers, latencies: [10n], inFlight: 1 };
  const samples = [sample, { ...sample, environment: "staging" }, sample];
  const report = { nodeId: "a-1", samples, samplesLeftOut: 7n, denials: [denial], measures: [measure] };
  await client.reportNode(report);
  await waitFor(() => published.length === 4, { describe: () => `all events: ${JSON.stringify(published)}` });
  const weighted = { route: "/a/{id}", entrance: "ENTRANCE_GATEWAY", weight: 12.5, traceId: "" };
  const measured = { revision: "2", requests: "10", inFlight: 1, p50Ms: 0.25, answers: { serverError: "2" } };
  expect(published).toMatchObject([
    ["hms.sys.mesh.request.sampled", "default", [{ subject: "default/svc", data: { ...weighted, leftOut: "7" } }, {}]],
    ["hms.sys.mesh.request.sampled", "staging", [{ subject: "staging/svc", data: { ...weighted, leftOut: "0" } }]],
    ["hms.sys.mesh.request.denied", "default", [{ data: { rule: "roles", principal: "user:anna", weight: 1 } }]],
    ["hms.sys.mesh.traffic.measured", "default", [{ subject: "default/svc", data: measured }]],
  ]);

  isAway = true;
  for (let n = 0; n < 3; n += 1) await client.reportNode({ nodeId: "a-1", samples: [sample] });
  await waitFor(() => changes.length > 0, { describe: "the word on the bus" });
  isAway = false;
  await client.reportNode({ nodeId: "a-1", samples: [sample] });
  await waitFor(() => changes.length > 1, { describe: "the word that it is back" });
  expect(changes).toMatchObject([{ code: "UNAVAILABLE" }, undefined]);
  expect(published).toHaveLength(5);
  const impossible = client.reportNode({ nodeId: "a-1", measures: [{ ...measure, inFlight: -1 }] });
  await expect(impossible).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
});
