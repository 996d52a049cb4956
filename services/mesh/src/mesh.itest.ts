import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import type { Client } from "@hms/kernel";
import { openServiceDatabase } from "@hms/postgres";
import { nearTransports, openTestDatabase, openTestTransport } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { createMeshService, type MeshTables, meshMigrations } from "./index.ts";

const { ACTIVE, DRAINING } = mesh.EndpointState;
const network = { vipPrefix: "127.88", proxyPort: 3002 };
const impatient = { reconnectMs: 100, idleMs: 50, startMs: 0 };

type MeshClient = Client<typeof mesh.MeshService>;

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

async function openMesh(via: (typeof nearTransports)[number] = "in-process") {
  const test = stack.use(await openTestDatabase<MeshTables>({ service: "mesh", migrations: meshMigrations }));
  const service = stack.use(createMeshService({ database: test.database, network, graces: impatient }));
  const transport = stack.use(await openTestTransport([service.registration], via));
  return { test, service, client: transport.client(mesh.MeshService) };
}

function picture(name: string, init: MessageInitShape<typeof mesh.MeshServiceEntrySchema> = {}) {
  const endpoints = [{ endpointId: `${name}-1`, host: "127.0.0.1", port: 20_000, state: ACTIVE }];
  return { service: create(mesh.MeshServiceEntrySchema, { environment: "default", name, endpoints, ...init }) };
}

const contentOf = (snapshot: mesh.Snapshot) => fromBinary(mesh.SnapshotContentSchema, snapshot.content);

/** A data plane: watches, keeps what it gets, and reports as it is told. */
function openNode(
  client: MeshClient,
  nodeId: string,
  known: { knownVersion?: bigint; knownSha256?: Uint8Array; features?: string[] } = {},
) {
  const call = new AbortController();
  const stream = client
    .watchSnapshots({ nodeId, ...(known as object) }, { signal: call.signal })
    [Symbol.asyncIterator]();
  const report = (appliedVersion: bigint, drainingInFlight: Record<string, number> = {}) =>
    client.reportNode({ nodeId, appliedVersion, drainingInFlight });
  return {
    report,
    next: async () => {
      const { value } = await stream.next();
      return (value as mesh.WatchSnapshotsResponse).snapshot as mesh.Snapshot;
    },
    /** Reads and applies until it serves this version. */
    apply: async (version: bigint, inFlight: Record<string, number> = {}) => {
      for (;;) {
        const { value } = await stream.next();
        const snapshot = (value as mesh.WatchSnapshotsResponse).snapshot as mesh.Snapshot;
        await report(snapshot.version, inFlight);
        if (snapshot.version >= version) return snapshot;
      }
    },
    [Symbol.dispose]: () => call.abort(),
  };
}

describe.each(nearTransports)("the mesh, called %s", (via) => {
  test("gives each service an address that outlives its removal, and its picture to everybody", async () => {
    const { client } = await openMesh(via);
    const first = await client.setService(
      picture("receipt-svc", { routes: [{ path: "/receipt", methods: ["POST"] }] }),
    );
    const second = await client.setService(picture("payment-svc"));
    expect([first.vip, second.vip]).toEqual(["127.88.1.1", "127.88.1.2"]);
    const removed = await client.removeService({ environment: "default", name: "receipt-svc" });
    expect(removed.snapshotVersion).toBeGreaterThan(second.snapshotVersion);
    const other = await client.setService(picture("other-svc"));
    const again = await client.setService(picture("receipt-svc"));
    expect([other.vip, again.vip]).toEqual(["127.88.1.3", "127.88.1.1"]);
    const { version, content } = await client.getSnapshot({});
    expect(version).toBe(again.snapshotVersion);
    expect(content?.environments).toMatchObject([{ name: "default", dnsAddress: "127.88.0.53" }]);
    expect(content?.services.map(({ name, vip }) => `${name} ${vip}`)).toEqual([
      "other-svc 127.88.1.3",
      "payment-svc 127.88.1.2",
      "receipt-svc 127.88.1.1",
    ]);
  });

  test("hands routes that ask who calls to those only who have said that they know how to", async () => {
    const { client } = await openMesh(via);
    const { snapshotVersion: version } = await client.setService(
      picture("a", { routes: [{ path: "/*" }, { path: "/admin/*", auth: {} }] }),
    );
    using older = openNode(client, "older");
    using newer = openNode(client, "newer", { features: ["auth"] });
    const pathsOf = (snapshot: mesh.Snapshot) =>
      contentOf(snapshot).services.map(({ name, routes }) => [
        name,
        routes.map(({ path, requires }) => [path, requires]),
      ]);
    const [forOlder, forNewer] = [await older.apply(version), await newer.apply(version)];
    expect(pathsOf(forNewer)).toEqual([
      [
        "a",
        [
          ["/*", []],
          ["/admin/*", ["auth"]],
        ],
      ],
    ]);
    expect(pathsOf(forOlder)).toEqual([
      ["a", [["/*", []]]],
      ["needs a newer data plane", [["/admin/*", []]]],
    ]);
    // Both serve it, and what they have they know when they come back.
    expect((await client.awaitApplied({ snapshotVersion: version })).nodes).toBe(2);
    using again = openNode(client, "again", { knownVersion: version, knownSha256: forOlder.sha256 });
    const next = again.next();
    await client.setService(picture("b"));
    expect((await next).version).toBeGreaterThan(version);
    using upgraded = openNode(client, "upgraded", {
      knownVersion: version,
      knownSha256: forOlder.sha256,
      features: ["auth"],
    });
    expect(pathsOf(await upgraded.next())[0]?.[1]).toContainEqual(["/admin/*", ["auth"]]);
  });

  test("makes no new version when nothing changes", async () => {
    const { client } = await openMesh(via);
    const set = await client.setService(picture("a"));
    expect(await client.setService(picture("a"))).toEqual(set);
    const removed = await client.removeService({ environment: "default", name: "a" });
    expect(await client.removeService({ environment: "default", name: "a" })).toEqual(removed);
    expect(removed.snapshotVersion).toBe(set.snapshotVersion + 1n);
  });

  test("tells how programs reach an environment, which is there from then on", async () => {
    const { client } = await openMesh(via);
    expect(await client.describeEnvironment({ environment: "default" })).toMatchObject({
      environment: { name: "default", dnsAddress: "127.88.0.53" },
      proxyUrl: "http://default@127.0.0.1:3002",
    });
    const before = await client.getSnapshot({});
    const staging = await client.describeEnvironment({ environment: "staging" });
    expect(staging).toMatchObject({ environment: { dnsAddress: "127.88.0.54" } });
    const after = await client.getSnapshot({});
    expect(after.version).toBe(before.version + 1n);
    await client.describeEnvironment({ environment: "staging" });
    expect((await client.getSnapshot({})).version).toBe(after.version);
    const { vip } = await client.setService(picture("a", { environment: "production" }));
    expect(vip).toBe("127.88.1.1");
    const { content } = await client.getSnapshot({});
    expect(content?.environments.map(({ name }) => name)).toEqual(["default", "staging", "production"]);
  });

  test("refuses a route that another service of the environment has, naming it", async () => {
    const { client } = await openMesh(via);
    await client.setService(picture("a", { routes: [{ path: "/users/{id}", methods: ["GET"] }] }));
    const before = await client.getSnapshot({});
    const routes = [{ path: "/users/{name}", methods: ["GET", "POST"] }];
    await expect(client.setService(picture("b", { routes }))).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      message: expect.stringContaining('"a"'),
      details: { reason: "ROUTE_CONFLICT", metadata: { service: "a", route: "GET, POST /users/{name}" } },
    });
    expect((await client.getSnapshot({})).version).toBe(before.version);
    await client.setService(picture("b", { environment: "staging", routes }));
    await client.removeService({ environment: "default", name: "a" });
    const endpoints = [{ endpointId: "b-2", host: "127.0.0.1", port: 20_001, state: ACTIVE }];
    await client.setService(picture("b", { routes, endpoints }));
  });

  test("refuses an endpoint id that another service has, or a picture with mistakes", async () => {
    const { client } = await openMesh(via);
    await client.setService(picture("a"));
    const { service } = picture("a", { name: "b" });
    await expect(client.setService({ service })).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      details: { reason: "ENDPOINT_CONFLICT", metadata: { service: "a", endpointId: "a-1" } },
    });
    await expect(client.setService(picture("Not-a-name", { ports: [0] }))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { fieldViolations: [{ field: "service.name" }, { field: "service.ports" }] },
    });
    await expect(client.setService({})).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(client.describeEnvironment({ environment: "../x" })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
    await expect(client.reportNode({ nodeId: "" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  test("sends data planes each newer snapshot with its checksum, and knows what they serve", async () => {
    const { client } = await openMesh(via);
    using node = openNode(client, "dp-1");
    const first = await node.next();
    const set = await client.setService(picture("a"));
    const second = await node.next();
    expect(second.version).toBe(set.snapshotVersion);
    expect(second.version).toBeGreaterThan(first.version);
    expect(contentOf(second).services).toMatchObject([{ name: "a", vip: set.vip, endpoints: [{ weight: 1000 }] }]);
    expect(Buffer.from(second.sha256)).toEqual(
      Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(second.content))),
    );
    await node.report(second.version);
    const { nodes } = await client.getSnapshot({});
    expect(nodes).toMatchObject([{ nodeId: "dp-1", appliedVersion: second.version, lastReportAt: expect.anything() }]);
  });

  test("does not repeat what a data plane knows, and replaces what is of another history", async () => {
    const { client } = await openMesh(via);
    const { version } = await client.getSnapshot({});
    using ahead = openNode(client, "ahead", { knownVersion: version + 1000n });
    const ours = await ahead.next();
    expect(ours.version).toBe(version);
    using other = openNode(client, "other", { knownVersion: version, knownSha256: new Uint8Array(32) });
    expect((await other.next()).version).toBe(version);
    using same = openNode(client, "same", { knownVersion: version, knownSha256: ours.sha256 });
    const next = same.next();
    const set = await client.setService(picture("a"));
    expect((await next).version).toBe(set.snapshotVersion);
  });

  test("waits until all connected data planes serve a version", async () => {
    const { client } = await openMesh(via);
    using one = openNode(client, "dp-1");
    using two = openNode(client, "dp-2");
    await Promise.all([one.next(), two.next()]);
    const { snapshotVersion } = await client.setService(picture("a"));
    const applied = client.awaitApplied({ snapshotVersion });
    await one.apply(snapshotVersion);
    await expect(client.awaitApplied({ snapshotVersion }, { timeoutMs: 100 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    await two.apply(snapshotVersion);
    expect(await applied).toMatchObject({ nodes: 2 });
  });

  test("forgets a data plane that has gone", async () => {
    const { client } = await openMesh(via);
    using staying = openNode(client, "staying");
    {
      using leaving = openNode(client, "leaving");
      await Promise.all([staying.next(), leaving.next()]);
      expect((await client.getSnapshot({})).nodes).toHaveLength(2);
    }
    const { snapshotVersion } = await client.setService(picture("a"));
    await staying.apply(snapshotVersion);
    expect(await client.awaitApplied({ snapshotVersion })).toMatchObject({ nodes: 1 });
    expect((await client.getSnapshot({})).nodes).toMatchObject([{ nodeId: "staying" }]);
  });

  test("waits for no version that does not exist, nor for data planes that are not there", async () => {
    const { client } = await openMesh(via);
    const { version } = await client.getSnapshot({});
    expect(await client.awaitApplied({ snapshotVersion: version })).toMatchObject({ nodes: 0 });
    await expect(client.awaitApplied({ snapshotVersion: version + 1n })).rejects.toMatchObject({
      code: "OUT_OF_RANGE",
    });
    expect(await client.awaitDrained({ endpointIds: ["gone"] })).toMatchObject({ leftInFlight: {} });
  });

  test("waits until endpoints that drain have nothing left, or says what is left", async () => {
    const { client } = await openMesh(via);
    using node = openNode(client, "dp-1");
    await node.next();
    await client.setService(picture("a"));
    await expect(client.awaitDrained({ endpointIds: ["a-1"] })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      details: { reason: "ENDPOINT_ACTIVE" },
    });
    const endpoints = [{ endpointId: "a-1", host: "127.0.0.1", port: 20_000, state: DRAINING }];
    const { snapshotVersion } = await client.setService(picture("a", { endpoints }));
    await expect(client.awaitDrained({ endpointIds: ["a-1"], timeoutMs: 50n })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      details: { reason: "NODES_BEHIND", metadata: { nodeIds: "dp-1" } },
    });
    await node.apply(snapshotVersion, { "a-1": 3 });
    expect(await client.awaitDrained({ endpointIds: ["a-1"], timeoutMs: 50n })).toMatchObject({
      leftInFlight: { "a-1": 3 },
    });
    const drained = client.awaitDrained({ endpointIds: ["a-1"] });
    await node.report(snapshotVersion);
    expect(await drained).toMatchObject({ leftInFlight: {} });
  });

  test("keeps every one of 50 changes made at once, each in a version of its own", async () => {
    const { client } = await openMesh(via);
    using node = openNode(client, "dp-1");
    const seen: bigint[] = [];
    const names = Array.from({ length: 50 }, (_, index) => `svc-${index}`);
    const sets = await Promise.all(names.map((name) => client.setService(picture(name))));
    const newest = sets.reduce((max, { snapshotVersion }) => (snapshotVersion > max ? snapshotVersion : max), 0n);
    for (;;) {
      const { version, content } = await node.next();
      seen.push(version);
      if (version < newest) continue;
      expect(
        fromBinary(mesh.SnapshotContentSchema, content)
          .services.map(({ name }) => name)
          .sort(),
      ).toEqual(names.sort());
      break;
    }
    expect(new Set(sets.map(({ snapshotVersion }) => snapshotVersion)).size).toBe(50);
    expect(new Set(sets.map(({ vip }) => vip)).size).toBe(50);
    expect(seen).toEqual([...seen].sort((a, b) => Number(a - b)));
  });
});

test("two servers at once, as during an upgrade, lose no change and give no version or address twice", async () => {
  const { test: own, client } = await openMesh();
  await using service = createMeshService({ database: own.database, network, graces: impatient });
  await using transport = await openTestTransport([service.registration], "in-process");
  const clients = [client, transport.client(mesh.MeshService)];
  const names = Array.from({ length: 40 }, (_, index) => `svc-${index}`);
  const sets = await Promise.all(names.map((name, index) => clients[index % 2]?.setService(picture(name))));
  expect(new Set(sets.map((set) => set?.snapshotVersion)).size).toBe(40);
  expect(new Set(sets.map((set) => set?.vip)).size).toBe(40);
  const last = await client.removeService({ environment: "default", name: "svc-0" });
  const { version, content } = await client.getSnapshot({});
  expect(version).toBe(last.snapshotVersion);
  expect(content?.services).toHaveLength(39);
});

test("a database that forgot its last commits does not make versions go back", async () => {
  const { test: own, client } = await openMesh();
  await client.setService(picture("a"));
  const forgotten = await client.getSnapshot({});
  using node = openNode(client, "dp-1");
  await node.apply(forgotten.version);
  await own.database.db.deleteFrom("service").execute();
  await own.database.db.updateTable("snapshot").set({ version: "1" }).execute();
  const set = await client.setService(picture("b"));
  expect(set.snapshotVersion).toBe(forgotten.version + 1n);
  const snapshot = await node.apply(set.snapshotVersion);
  expect(contentOf(snapshot).services).toMatchObject([{ name: "b" }]);
});

describe("a mesh service that starts again", () => {
  test("serves the same version with the same content and addresses", async () => {
    const { test: own, client } = await openMesh();
    await client.setService(picture("a", { routes: [{ path: "/a" }] }));
    await client.describeEnvironment({ environment: "staging" });
    await client.removeService({ environment: "default", name: "a" });
    await client.setService(picture("b"));
    const before = await client.getSnapshot({});

    await using database = await openServiceDatabase<MeshTables>({
      source: own.source,
      service: "mesh",
      migrations: meshMigrations,
    });
    await using service = createMeshService({ database, network, graces: impatient });
    await using transport = await openTestTransport([service.registration], "in-process");
    const again = transport.client(mesh.MeshService);
    expect(await again.getSnapshot({})).toEqual(before);
    expect(await again.setService(picture("a"))).toMatchObject({ vip: "127.88.1.1" });
  });

  test("moves every address when its range has changed, in a new version", async () => {
    const { test: own, client } = await openMesh();
    const set = await client.setService(picture("a"));
    await using service = createMeshService({ database: own.database, network: { ...network, vipPrefix: "127.90" } });
    await using transport = await openTestTransport([service.registration], "in-process");
    const moved = await transport.client(mesh.MeshService).getSnapshot({});
    expect(moved.version).toBe(set.snapshotVersion + 1n);
    expect(moved.content?.services).toMatchObject([{ name: "a", vip: "127.90.1.1" }]);
  });

  test("ends streams and waits of its predecessor with UNAVAILABLE, so that callers come back", async () => {
    const { service, client } = await openMesh();
    using node = openNode(client, "dp-1");
    await node.next();
    const { version } = await client.getSnapshot({});
    const next = node.next();
    const waiting = client.awaitApplied({ snapshotVersion: version });
    const outcomes = Promise.allSettled([next, waiting]);
    await service[Symbol.asyncDispose]();
    expect(await outcomes).toMatchObject([
      { status: "rejected", reason: { code: "UNAVAILABLE", details: { reason: "STOPPING" } } },
      { status: "rejected", reason: { code: "UNAVAILABLE", details: { reason: "STOPPING" } } },
    ]);
  });

  test("has no address left after the last, and says so", async () => {
    const { test: own, client } = await openMesh();
    await client.setService(picture("a"));
    await own.database.db
      .insertInto("address")
      .values({ environment: "default", name: "last", slot: 64_769 })
      .execute();
    await expect(client.setService(picture("b"))).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      details: { reason: "ADDRESSES_EXHAUSTED" },
    });
    expect(await client.setService(picture("last"))).toMatchObject({ vip: "127.88.255.254" });
  });
});
