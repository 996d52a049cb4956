import { registry } from "@hms/contracts";
import { readDescriptorSet } from "@hms/descriptors";
import type { HmsError, Principal } from "@hms/kernel";
import { endTransports, waitFor } from "@hms/testkit";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { grpcForeignServers } from "./testing/grpc-foreign-servers.ts";
import { openScene, openSceneHere, openSceneVia, type RegistryClient, registryHost } from "./testing/registry-scene.ts";
import { type StockServerOptions, startStockServer } from "./testing/stock-grpc-server.ts";

const { AVAILABLE, UNAVAILABLE } = registry.InstanceState;
const LEASE_MS = 3000;
const operator: Principal = { kind: "operator", id: "operator" };

let stack = new AsyncDisposableStack();
afterAll(() => registryHost[Symbol.asyncDispose]());
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

/** In this process always: what it could not do is looked into. */
async function openForeign() {
  const failures: HmsError[] = [];
  const options = {
    foreignServers: grpcForeignServers,
    foreignLeaseMs: LEASE_MS,
    onFailure: (failure: HmsError) => failures.push(failure),
  };
  return { ...(await openSceneHere(stack, options)), failures };
}

const start = async (options: StockServerOptions) => stack.use(await startStockServer(options));

const statesOf = async (client: RegistryClient) =>
  (await client.list({})).services.flatMap(({ instances }) => instances.map(({ state }) => state));

const until = (client: RegistryClient, states: registry.InstanceState[]) =>
  waitFor(async () => String(await statesOf(client)) === String(states), {
    describe: `instances to be ${states}`,
    deadlineMs: 20_000,
  });

describe.each(endTransports)("a stock gRPC server, named to the registry %s", (via) => {
  test("is registered with its contracts, one service a package", async () => {
    const { client } = await openSceneVia(stack, via);
    const { address } = await start({ protos: ["greeter", "orders"] });
    const { services } = await client.registerForeign({ address, metadata: { team: "shop" } });
    expect(services).toMatchObject([
      { serviceId: "acme.orders", version: "v2", metadata: { team: "shop" }, hasContract: true },
      { serviceId: "helloworld", version: "v1", instances: [{ address, instanceId: address, state: AVAILABLE }] },
    ]);
    const { fileDescriptorSet } = await client.getContract({ serviceId: "helloworld" });
    const greeter = readDescriptorSet(fileDescriptorSet).getService("helloworld.Greeter");
    expect(greeter?.methods.map(({ name, input }) => [name, input.typeName])).toEqual([
      ["SayHello", "helloworld.HelloRequest"],
    ]);
    expect((await client.lookup({ serviceId: "helloworld" })).service?.instances).toMatchObject([{ address }]);
  });

  test("is given no ticket by anybody who calls it: it could not check one, and others could use it", async () => {
    const { as } = await openSceneVia(stack, via);
    const { address } = await start({ protos: ["greeter", "orders"] });
    await as(operator).registerForeign({ address });
    for (const request of [{ serviceId: "helloworld" }, { serviceId: "acme.orders", version: "v2" }]) {
      const { service, tickets } = await as(operator).lookup(request);
      expect([service?.instances.length, tickets]).toEqual([1, []]);
    }
  });

  test("may be registered in part, and in the version that one says", async () => {
    const { client } = await openSceneVia(stack, via);
    const { address } = await start({ protos: ["greeter", "orders"] });
    const request = { address, services: ["helloworld.Greeter"], version: "v3" };
    expect((await client.registerForeign(request)).services).toMatchObject([
      { serviceId: "helloworld", version: "v3" },
    ]);
    await expect(client.registerForeign({ address, services: ["a.B"] })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await client.registerForeign({ address });
    const ids = (await client.list({})).services.map(({ serviceId, version }) => `${serviceId} ${version}`);
    expect(ids).toEqual(["acme.orders v2", "helloworld v1"]);
  });

  test("is refused with the reason if it is not there, cannot be read, or is no address", async () => {
    const { client } = await openSceneVia(stack, via);
    const { address } = await start({ protos: ["greeter"], reflection: false });
    await expect(client.registerForeign({ address })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      details: { reason: "REFLECTION_MISSING" },
    });
    await expect(client.registerForeign({ address: "grpc://127.0.0.1:1" }, { timeoutMs: 3000 })).rejects.toMatchObject({
      code: expect.stringMatching(/UNAVAILABLE|DEADLINE_EXCEEDED/),
    });
    const wrong = { address: "http://x", version: "1", services: ["a b"] };
    await expect(client.registerForeign(wrong)).rejects.toMatchObject({
      details: { fieldViolations: [{ field: "address" }, { field: "version" }, { field: "services[0]" }] },
    });
    expect((await client.list({})).services).toEqual([]);
  });
});

describe("the registry keeps a stock gRPC server available while it lives", () => {
  test("by its health service; and says within three intervals when it does not serve, and when it does again", async () => {
    const { client, failures } = await openForeign();
    const server = await start({ protos: ["greeter"] });
    await client.registerForeign({ address: server.address });
    const began = performance.now();
    await waitFor(() => performance.now() - began > LEASE_MS * 1.5, { describe: "more than a lease to pass" });
    expect(await statesOf(client)).toEqual([AVAILABLE]);
    server.setServing(false);
    const stopped = performance.now();
    await until(client, [UNAVAILABLE]);
    expect(performance.now() - stopped).toBeLessThan(LEASE_MS + 1000);
    expect(failures.at(-1)?.message).toContain("not serving");
    server.setServing(true);
    await until(client, [AVAILABLE]);
  });

  test("by its connection, where it has no health service", async () => {
    const { client } = await openScene(stack, { foreignLeaseMs: LEASE_MS });
    const server = await startStockServer({ protos: ["greeter"], health: false });
    await client.registerForeign({ address: server.address });
    const began = performance.now();
    await waitFor(() => performance.now() - began > LEASE_MS * 1.5, { describe: "more than a lease to pass" });
    expect(await statesOf(client)).toEqual([AVAILABLE]);
    await server[Symbol.asyncDispose]();
    await until(client, [UNAVAILABLE]);
    await start({ protos: ["greeter"], health: false, port: Number(new URL(server.address).port) });
    await until(client, [AVAILABLE]);
  });

  test("across a restart of the registry, also if the server was forgotten meanwhile", async () => {
    const options = { foreignLeaseMs: LEASE_MS };
    const opened = await openScene(stack, options);
    const server = await start({ protos: ["greeter"] });
    await opened.client.registerForeign({ address: server.address });
    await opened.stop();
    const { db } = opened.own.database;
    await db.deleteFrom("instance").execute();
    await db.deleteFrom("service").execute();
    const { client } = await openScene(stack, { ...options, on: opened.own });
    await until(client, [AVAILABLE]);
  });

  test("with the contract that it has when it comes back, unless that breaks its callers", async () => {
    const { client, failures } = await openForeign();
    const server = await startStockServer({ protos: ["greeter"] });
    const port = Number(new URL(server.address).port);
    await client.registerForeign({ address: server.address });
    const { contractDigest } = await client.getContract({ serviceId: "helloworld" });
    await server[Symbol.asyncDispose]();
    await until(client, [UNAVAILABLE]);
    const broken = await startStockServer({ protos: ["greeter-broken"], port });
    await waitFor(() => failures.some(({ details }) => details.reason === "CONTRACT_BREAKS"), {
      describe: "the refusal",
    });
    expect(await statesOf(client)).toEqual([UNAVAILABLE]);
    expect((await client.getContract({ serviceId: "helloworld" })).contractDigest).toBe(contractDigest);
    await broken[Symbol.asyncDispose]();
    await start({ protos: ["greeter", "orders"], port });
    await until(client, [AVAILABLE, AVAILABLE]);
  });

  test("until it is unregistered", async () => {
    const { as, own } = await openScene(stack, { foreignLeaseMs: LEASE_MS });
    const client = as(operator);
    const { address } = await start({ protos: ["greeter"] });
    await client.registerForeign({ address });
    await client.unregister({ serviceId: "helloworld", version: "v1", instanceId: address });
    expect(await own.database.db.selectFrom("foreign_server").selectAll().execute()).toEqual([]);
    const began = performance.now();
    await waitFor(() => performance.now() - began > LEASE_MS, { describe: "a lease to pass" });
    expect((await client.list({})).services).toEqual([]);
  });
});
