import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { componentPrincipal, type Principal } from "@hms/kernel";
import { endTransports } from "@hms/testkit";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { instance, openScene, openSceneVia, registryHost } from "./testing/registry-scene.ts";

let stack = new AsyncDisposableStack();
afterAll(() => registryHost[Symbol.asyncDispose]());
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

// Parts of the platform, which may register every service id.
const anna = componentPrincipal("anna");
const bert = componentPrincipal("bert");
const carl: Principal = { kind: "service", id: "default/carl" };
const dora: Principal = { kind: "service", id: "default/dora" };
const operator: Principal = { kind: "operator", id: "operator" };
const denied = { code: "PERMISSION_DENIED", details: { reason: "REGISTERED_BY_OTHER" } };

describe("an instance belongs to who registered it", () => {
  test("nobody else renews, replaces or removes it", async () => {
    const { as } = await openScene(stack);
    await as(anna).register(instance("a"));
    await expect(as(bert).register(instance("a"))).rejects.toMatchObject(denied);
    await expect(as(bert).register({ ...instance("a"), address: "unix:/tmp/other" })).rejects.toMatchObject(denied);
    await expect(as(bert).unregister(instance("a"))).rejects.toMatchObject(denied);
    const { service } = await as(anna).lookup({ serviceId: "a" });
    expect(service?.instances).toMatchObject([{ address: "unix:/run/i-1.sock" }]);
    await as(anna).register(instance("a"));
    await as(anna).unregister(instance("a"));
    await as(bert).register(instance("a"));
  });

  test("a deployed service is refused before, because the whole service id is somebody's, also when no instance is left", async () => {
    const { as } = await openScene(stack);
    const owned = { code: "PERMISSION_DENIED", details: { reason: "SERVICE_ID_OWNED" } };
    await as(carl).register(instance("a"));
    for (const instanceId of ["i-1", "i-2"]) {
      await expect(as(dora).register(instance("a", { instanceId }))).rejects.toMatchObject(owned);
    }
    await as(carl).unregister(instance("a"));
    await expect(as(dora).register(instance("a"))).rejects.toMatchObject(owned);
  });

  test("not even after its lease has run out", async () => {
    const { as, own } = await openScene(stack);
    await as(anna).register(instance("a"));
    await own.database.db.updateTable("instance").set({ lost: true }).execute();
    await expect(as(bert).register(instance("a"))).rejects.toMatchObject(denied);
    await as(anna).register(instance("a"));
  });

  test("the operator may, and it stays whose it was", async () => {
    const { as } = await openScene(stack);
    await as(anna).register(instance("a"));
    await as(operator).register({ ...instance("a"), address: "unix:/run/moved.sock" });
    await as(anna).register({ ...instance("a"), address: "unix:/run/moved.sock" });
    await expect(as(bert).register(instance("a"))).rejects.toMatchObject(denied);
    await as(operator).unregister(instance("a"));
    await as(bert).register(instance("a"));
  });

  test("one that an earlier release registered belongs to who renews it first", async () => {
    const { as, own } = await openScene(stack);
    await as(anna).register(instance("a"));
    await own.database.db.updateTable("instance").set({ registered_by: "" }).execute();
    await as(bert).register(instance("a"));
    await expect(as(anna).register(instance("a"))).rejects.toMatchObject(denied);
  });
});

describe.each(endTransports)("instances in the registry, called %s", (via) => {
  test("get a key of their own for tickets, which stays when they renew or move", async () => {
    const { client } = await openSceneVia(stack, via);
    const key = async (init: object) =>
      Buffer.from((await client.register({ ...instance("a"), ...init })).ticketKey).toString("hex");
    const first = await key({});
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(await key({})).toBe(first);
    expect(await key({ leaseDuration: durationFromMs(60_000) })).toBe(first);
    expect(await key({ address: "unix:/run/moved.sock" })).toBe(first);
    expect(await key({ instanceId: "i-2" })).not.toBe(first);
    await client.unregister(instance("a"));
    expect(await key({})).not.toBe(first);
  });

  test("may have several addresses, and a change of them is no mere renewal", async () => {
    const { client } = await openSceneVia(stack, via);
    const addresses = async () => (await client.lookup({ serviceId: "a" })).service?.instances[0]?.alternativeAddresses;
    await client.register({ ...instance("a"), alternativeAddresses: ["grpc://127.0.0.1:5000"] });
    expect(await addresses()).toEqual(["grpc://127.0.0.1:5000"]);
    await client.register({
      ...instance("a"),
      alternativeAddresses: ["grpc://127.0.0.1:5001", "http://127.0.0.1:5002"],
    });
    expect(await addresses()).toEqual(["grpc://127.0.0.1:5001", "http://127.0.0.1:5002"]);
    await client.register(instance("a"));
    expect(await addresses()).toEqual([]);
  });
});
