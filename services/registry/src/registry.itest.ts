import { durationFromMs, durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { mesh, registry } from "@hms/contracts";
import { descriptorSetOf } from "@hms/descriptors";
import { announceServices } from "@hms/directory";
import { machineSlowness, testTransports } from "@hms/testkit";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import {
  instance,
  openScene,
  openSceneHere,
  openSceneVia,
  type RegistryClient,
  registryHost,
} from "./testing/registry-scene.ts";

const { CURRENT, SYNCED, REMOVED } = registry.WatchEventKind;
const { AVAILABLE, UNAVAILABLE } = registry.InstanceState;

let stack = new AsyncDisposableStack();
afterAll(() => registryHost[Symbol.asyncDispose]());
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

const openRegistry = (keepLostMs?: number) => openScene(stack, keepLostMs === undefined ? {} : { keepLostMs });

/** Lets leases run out without waiting for them. */
async function age({ own }: Pick<Awaited<ReturnType<typeof openRegistry>>, "own">, seconds: number): Promise<void> {
  const { db } = own.database;
  const { sql } = await import("kysely");
  await sql`update instance set lease_expires_at = lease_expires_at - make_interval(secs => ${seconds}::float8)`.execute(
    db,
  );
}

function openWatch(client: RegistryClient, pattern = "*") {
  const call = new AbortController();
  const stream = client.watch({ pattern }, { signal: call.signal })[Symbol.asyncIterator]();
  return {
    next: async () => {
      const { value } = await stream.next();
      const { kind, service } = value as registry.WatchResponse;
      return { kind, id: service?.serviceId, states: service?.instances.map(({ state }) => state) };
    },
    [Symbol.dispose]: () => call.abort(),
  };
}

const refused = (code: string, reason?: string) => ({ code, ...(reason ? { details: { reason } } : {}) });

describe.each(testTransports)("the registry, called %s", (via) => {
  test("finds what was registered, and says until when", async () => {
    const { client } = await openSceneVia(stack, via);
    const labels = { metadata: { team: "payments" } };
    const answer = await client.register({ ...instance("hms.cdf.debate"), ...labels });
    const leaseMs = timestampDate(answer.leaseExpiresAt ?? expect.unreachable()).getTime() - Date.now();
    expect(leaseMs).toBeGreaterThan(25_000);
    expect(leaseMs).toBeLessThan(35_000);
    expect(answer.renewInterval).toMatchObject({ seconds: 10n });
    await client.register(instance("hms.cdf.debate", { instanceId: "i-2" }));
    const { service } = await client.lookup({ serviceId: "hms.cdf.debate" });
    expect(service).toMatchObject({
      serviceId: "hms.cdf.debate",
      version: "v1",
      environment: "default",
      metadata: { team: "payments" },
      hasContract: false,
      instances: [
        { instanceId: "i-1", address: "unix:/run/i-1.sock", state: AVAILABLE },
        { instanceId: "i-2", state: AVAILABLE },
      ],
    });
  });

  test("keeps environments and versions apart", async () => {
    const { client } = await openSceneVia(stack, via);
    await client.register(instance("a.b", { environment: "staging", version: "v2" }));
    await expect(client.lookup({ serviceId: "a.b", version: "v2" })).rejects.toMatchObject(refused("NOT_FOUND"));
    await expect(client.lookup({ serviceId: "a.b", environment: "staging" })).rejects.toMatchObject({
      message: expect.stringContaining("is there in v2, not in v1"),
    });
    const found = await client.lookup({ serviceId: "a.b", environment: "staging", version: "v2" });
    expect(found.service?.instances).toHaveLength(1);
  });

  test("names what is nearest to a service it does not have", async () => {
    const { client } = await openSceneVia(stack, via);
    await client.register(instance("hms.cdf.debate"));
    await expect(client.lookup({ serviceId: "hms.cdf.debat" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringContaining("Did you mean hms.cdf.debate?"),
      details: { reason: "SERVICE_UNKNOWN", metadata: { nearest: "hms.cdf.debate" } },
    });
    await expect(client.lookup({ serviceId: "No Id" })).rejects.toMatchObject(refused("INVALID_ARGUMENT"));
  });

  test("forgets an instance that leaves, and the service with its last one", async () => {
    const { client } = await openSceneVia(stack, via);
    for (const instanceId of ["i-1", "i-2"]) await client.register(instance("a", { instanceId }));
    await client.unregister(instance("a"));
    expect((await client.lookup({ serviceId: "a" })).service?.instances).toMatchObject([{ instanceId: "i-2" }]);
    await client.unregister(instance("a", { instanceId: "i-2" }));
    await client.unregister(instance("a", { instanceId: "i-2" }));
    await expect(client.lookup({ serviceId: "a" })).rejects.toMatchObject(refused("NOT_FOUND"));
    expect((await client.list({})).services).toEqual([]);
  });

  test("takes a renewal for what it is, and another address or label for a change", async () => {
    const { client, own } = await openSceneVia(stack, via);
    const request = { ...instance("a"), metadata: { tier: "1" } };
    await client.register(request);
    await age({ own }, 20);
    await client.register({ ...request, metadata: {}, leaseDuration: durationFromMs(600_000) });
    const renewed = (await client.lookup({ serviceId: "a" })).service;
    expect(renewed).toMatchObject({ metadata: { tier: "1" } });
    const end = renewed?.instances[0]?.leaseExpiresAt ?? expect.unreachable();
    expect(timestampDate(end).getTime()).toBeGreaterThan(Date.now() + 500_000);
    await client.register({ ...request, address: "http://127.0.0.1:20001", metadata: { tier: "2" } });
    expect((await client.lookup({ serviceId: "a" })).service).toMatchObject({
      metadata: { tier: "2" },
      instances: [{ address: "http://127.0.0.1:20001" }],
    });
  });

  test("keeps a contract, also when its last instance has gone, and refuses what is none", async () => {
    const { client } = await openSceneVia(stack, via);
    const fileDescriptorSet = descriptorSetOf([mesh.MeshService.file]);
    const garbage = new TextEncoder().encode("garbage") as Uint8Array<ArrayBuffer>;
    await expect(client.register({ ...instance("hms.sys.mesh"), fileDescriptorSet: garbage })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { fieldViolations: [{ field: "file_descriptor_set" }] },
    });
    const set = fileDescriptorSet as Uint8Array<ArrayBuffer>;
    await client.register({ ...instance("hms.sys.mesh"), fileDescriptorSet: set });
    await client.unregister(instance("hms.sys.mesh"));
    await client.register(instance("hms.sys.mesh"));
    expect((await client.lookup({ serviceId: "hms.sys.mesh" })).service?.hasContract).toBe(true);
  });

  test("lists by pattern and labels, a page at a time, each service once", async () => {
    const { client } = await openSceneVia(stack, via);
    for (const [index, id] of ["b.x", "a.x", "a.y", "c_d.x", "cad.x"].entries()) {
      await client.register({ ...instance(id), metadata: { odd: String(index % 2), all: "yes" } });
    }
    await client.register(instance("a.x", { version: "v2" }));
    await client.register(instance("a.x", { instanceId: "i-2" }));
    const ids = async (request: Parameters<RegistryClient["list"]>[0]) =>
      (await client.list(request)).services.map(({ serviceId, version }) => `${serviceId} ${version}`);
    expect(await ids({})).toEqual(["a.x v1", "a.x v2", "a.y v1", "b.x v1", "c_d.x v1", "cad.x v1"]);
    expect(await ids({ pattern: "a.*" })).toEqual(["a.x v1", "a.x v2", "a.y v1"]);
    expect(await ids({ pattern: "c_d.*" })).toEqual(["c_d.x v1"]);
    expect(await ids({ metadata: { odd: "1", all: "yes" } })).toEqual(["a.x v1", "c_d.x v1"]);
    expect(await ids({ environment: "staging" })).toEqual([]);
    const pages: string[][] = [];
    let pageToken = "";
    do {
      const page = await client.list({ pageSize: 2, pattern: "*.x", pageToken });
      pages.push(
        page.services.map(({ serviceId, version, instances }) => `${serviceId} ${version} ${instances.length}`),
      );
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(pages).toEqual([["a.x v1 2", "a.x v2 1"], ["b.x v1 1", "c_d.x v1 1"], ["cad.x v1 1"]]);
    for (const wrong of [{ pageSize: 1001 }, { pageSize: -1 }, { pattern: "%" }, { pageToken: "x" }]) {
      await expect(client.list(wrong)).rejects.toMatchObject(refused("INVALID_ARGUMENT"));
    }
  });

  test("tells a watch what is there, then what comes, changes and goes", async () => {
    const { client } = await openSceneVia(stack, via);
    await client.register(instance("a.x"));
    await client.register(instance("b.x"));
    using watch = openWatch(client, "a.*");
    expect(await watch.next()).toEqual({ kind: CURRENT, id: "a.x", states: [AVAILABLE] });
    expect(await watch.next()).toEqual({ kind: SYNCED, id: undefined, states: undefined });
    await client.register(instance("b.x", { instanceId: "i-2" }));
    await client.register(instance("a.y"));
    expect(await watch.next()).toEqual({ kind: CURRENT, id: "a.y", states: [AVAILABLE] });
    await client.register(instance("a.x"));
    await client.register(instance("a.x", { instanceId: "i-2" }));
    expect(await watch.next()).toEqual({ kind: CURRENT, id: "a.x", states: [AVAILABLE, AVAILABLE] });
    await client.unregister(instance("a.y"));
    expect(await watch.next()).toEqual({ kind: REMOVED, id: "a.y", states: [] });
  });
});

describe("leases", () => {
  test("that run out are told to watches, and so is the instance's return", async () => {
    const { client } = await openRegistry();
    using watch = openWatch(client);
    expect(await watch.next()).toMatchObject({ kind: SYNCED });
    const began = performance.now();
    const { renewInterval } = await client.register({ ...instance("a"), leaseDuration: durationFromMs(5000) });
    const renewed = performance.now();
    expect(await watch.next()).toMatchObject({ kind: CURRENT, states: [AVAILABLE] });
    expect(await watch.next()).toEqual({ kind: CURRENT, id: "a", states: [UNAVAILABLE] });
    const lost = performance.now();
    const threeIntervalsMs = 3 * durationMs(renewInterval ?? expect.unreachable());
    expect(threeIntervalsMs - 5000).toBeLessThan(3);
    expect(lost - began).toBeGreaterThanOrEqual(5000);
    // What an idle machine takes to wake up, ask PostgreSQL and say so is a few milliseconds of these.
    expect(lost - renewed).toBeLessThan(threeIntervalsMs + 50 * (await machineSlowness()));
    const asked = performance.now();
    await expect(client.lookup({ serviceId: "a" })).rejects.toMatchObject(
      refused("UNAVAILABLE", "NO_INSTANCE_AVAILABLE"),
    );
    expect(performance.now() - asked).toBeLessThan(2000);
    expect((await client.list({})).services).toMatchObject([{ instances: [{ state: UNAVAILABLE }] }]);
    await client.register(instance("a"));
    expect(await watch.next()).toEqual({ kind: CURRENT, id: "a", states: [AVAILABLE] });
  });

  test("survive a restart: who could not renew meanwhile gets a third of the lease more", async () => {
    const opened = await openRegistry();
    await opened.client.register(instance("alive"));
    await opened.stop();
    await age(opened, 3600);
    const { client: again } = await openScene(stack, { on: opened.own });
    const found = (await again.lookup({ serviceId: "alive" })).service?.instances[0]?.leaseExpiresAt;
    const leftMs = timestampDate(found ?? expect.unreachable()).getTime() - Date.now();
    expect(leftMs).toBeGreaterThan(8000);
    expect(leftMs).toBeLessThan(12_000);
  });

  test("that ran out stay known for a while, across restarts, and are then forgotten", async () => {
    const opened = await openRegistry(100);
    const { client, own } = opened;
    await client.register({ ...instance("a"), leaseDuration: durationFromMs(5000) });
    await client.register(instance("b"));
    await own.database.db.updateTable("instance").set({ lost: true }).where("service_id", "=", "a").execute();
    await opened.stop();
    const next = await openScene(stack, { on: own });
    await age(opened, 10);
    expect((await next.client.list({})).services).toMatchObject([
      { serviceId: "a", instances: [{ state: UNAVAILABLE }] },
      { serviceId: "b", instances: [{ state: AVAILABLE }] },
    ]);
    await next.stop();
    const forgetful = await openScene(stack, { on: own, keepLostMs: 1 });
    expect((await forgetful.client.list({})).services.map(({ serviceId }) => serviceId)).toEqual(["b"]);
  });
});

describe("at once", () => {
  test("100 instances of ten services register and leave, and nothing is lost or left over", async () => {
    const { client } = await openRegistry();
    using watch = openWatch(client);
    await watch.next();
    const all = Array.from({ length: 100 }, (_, index) => instance(`svc.n${index % 10}`, { instanceId: `i-${index}` }));
    await Promise.all(all.map((request) => client.register(request)));
    const full = await client.list({});
    expect(full.services.map(({ instances }) => instances.length)).toEqual(Array(10).fill(10));
    const [leaving, staying] = [all.slice(0, 95), all.slice(95)];
    await Promise.all([
      ...leaving.map((request) => client.unregister(request)),
      ...staying.map((request) => client.register(request)),
    ]);
    const rest = (await client.list({})).services;
    expect(rest.map(({ instances }) => instances.length)).toEqual([1, 1, 1, 1, 1]);
    const known = new Set<string | undefined>();
    while (known.size < 5 || [...known].some((id) => !rest.some(({ serviceId }) => serviceId === id))) {
      const { kind, id } = await watch.next();
      if (kind === REMOVED) known.delete(id);
      else known.add(id);
    }
  });

  test("the last instance leaves while another registers: the service stays known", async () => {
    const { client } = await openRegistry();
    for (let round = 0; round < 20; round += 1) {
      await client.register(instance("a", { instanceId: `old-${round}` }));
      await Promise.all([
        client.unregister(instance("a", { instanceId: `old-${round}` })),
        client.register(instance("a", { instanceId: "new" })),
      ]);
      expect((await client.lookup({ serviceId: "a" })).service?.instances).toMatchObject([{ instanceId: "new" }]);
      await client.unregister(instance("a", { instanceId: "new" }));
    }
  });
});

describe("an announcement", () => {
  test("registers the contracts of a process and takes them out when it ends", async () => {
    const { client } = await openRegistry();
    const announced = announceServices({
      registry: client,
      services: [mesh.MeshService, registry.RegistryService],
      address: "unix:/run/hms/kernel.sock",
      instanceId: "server",
    });
    await announced.registered;
    const { services } = await client.list({});
    expect(services.map(({ serviceId, version, hasContract }) => [serviceId, version, hasContract])).toEqual([
      ["hms.ffi", "v1", true],
      ["hms.sys.mesh", "v1", true],
    ]);
    await announced[Symbol.asyncDispose]();
    expect((await client.list({})).services).toEqual([]);
  });
});

test("an announcement of a contract that breaks callers is not tried for ever", async () => {
  const { client } = await openRegistry();
  const key = { serviceId: "hms.sys.mesh", version: "v1" };
  const methodSchemas = [{ name: "Other" }];
  await client.register({ ...key, instanceId: "old", address: "unix:/run/old.sock", methodSchemas });
  const failures: string[] = [];
  await using announced = announceServices({
    registry: client,
    services: [mesh.MeshService],
    address: "unix:/run/hms/kernel.sock",
    instanceId: "server",
    onFailure: ({ details }) => failures.push(details.reason ?? ""),
  });
  await announced.registered;
  expect(failures).toEqual(["CONTRACT_BREAKS"]);
  expect((await client.lookup(key)).service?.instances).toMatchObject([{ instanceId: "old" }]);
});

test("a stopping registry ends its watches with UNAVAILABLE, so that callers come back", async () => {
  // From a process of its own it is called by a way that ends before it stops.
  const { stop, client } = await openSceneHere(stack);
  using watch = openWatch(client);
  await watch.next();
  const waiting = expect(watch.next()).rejects.toMatchObject(refused("UNAVAILABLE", "STOPPING"));
  await stop();
  await waiting;
});
