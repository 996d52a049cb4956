import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { createClient, createInProcessTransport, Kernel, type Policy, type Principal } from "@hms/kernel";
import { openTestDatabase, openTestTransport } from "@hms/testkit";
import { afterEach, expect, test } from "vitest";
import { createMeshService, type MeshTables, meshMigrations } from "./index.ts";

const viewer: Principal = { kind: "user", id: "vera" };

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

async function openMesh() {
  const own = stack.use(await openTestDatabase<MeshTables>({ service: "mesh", migrations: meshMigrations }));
  const network = { vipPrefix: "127.88", proxyPort: 3002 };
  const service = stack.use(createMeshService({ database: own.database, network }));
  const transport = stack.use(await openTestTransport([service.registration], "in-process"));
  return { own, registration: service.registration, client: transport.client(mesh.MeshService) };
}

function picture(name: string, init: MessageInitShape<typeof mesh.MeshServiceEntrySchema> = {}) {
  return { service: create(mesh.MeshServiceEntrySchema, { environment: "default", name, ...init }) };
}

test("takes away an environment without services; its place is the next one's, and its addresses wait for its return", async () => {
  const { client } = await openMesh();
  const { vip } = await client.setService(picture("a", { environment: "pr-1" }));
  await client.describeEnvironment({ environment: "production" });
  const refused = { code: "FAILED_PRECONDITION", details: { reason: "ENVIRONMENT_STAYS" } };
  await expect(client.removeEnvironment({ environment: "pr-1" })).rejects.toMatchObject(refused);
  await expect(client.removeEnvironment({ environment: "default" })).rejects.toMatchObject(refused);
  await client.removeService({ environment: "pr-1", name: "a" });
  const removed = await client.removeEnvironment({ environment: "pr-1" });
  expect(await client.removeEnvironment({ environment: "pr-1" })).toEqual(removed);
  const names = async () => (await client.getSnapshot({})).content?.environments.map(({ name }) => name);
  expect(await names()).toEqual(["default", "production"]);
  expect(await client.describeEnvironment({ environment: "pr-2" })).toMatchObject({
    environment: { dnsAddress: "127.88.0.54" },
  });
  expect(await names()).toEqual(["default", "pr-2", "production"]);
  expect((await client.setService(picture("b"))).vip).not.toBe(vip);
  expect((await client.setService(picture("a", { environment: "pr-1" }))).vip).toBe(vip);
});

test("is not made by who only looks", async () => {
  const { own, client, registration } = await openMesh();
  const nothing = { where: { any: [] }, whereUnplaced: { any: [] } };
  const policy: Policy = {
    decide: () => ({ allowed: true }),
    filter: ({ permission }) => ({ ...nothing, allows: () => permission !== "mesh:write" }),
  };
  const kernel = new Kernel({
    identity: { authenticate: () => viewer },
    policy,
    audit: { accepts: true, record() {} },
  });
  kernel.register(registration);
  const reader = createClient(mesh.MeshService, createInProcessTransport(kernel, viewer));
  const looked = reader.describeEnvironment({ environment: "nowhere" });
  await expect(looked).rejects.toMatchObject({ code: "NOT_FOUND", message: expect.stringContaining("first deploy") });
  expect(await own.database.db.selectFrom("environment").select("name").execute()).not.toContainEqual({
    name: "nowhere",
  });
  await client.describeEnvironment({ environment: "nowhere" });
  expect(await reader.describeEnvironment({ environment: "nowhere" })).toMatchObject({
    environment: { name: "nowhere" },
  });
});

test("has 202 environments at once, and another one as soon as one was removed", async () => {
  const { own, client } = await openMesh();
  const others = Array.from({ length: 201 }, (_, index) => ({ name: `pr-${index}`, slot: index + 1 }));
  await own.database.db.insertInto("environment").values(others).execute();
  await expect(client.describeEnvironment({ environment: "production" })).rejects.toMatchObject({
    details: { reason: "ENVIRONMENTS_EXHAUSTED" },
  });
  await client.removeEnvironment({ environment: "pr-99" });
  expect(await client.describeEnvironment({ environment: "production" })).toMatchObject({
    environment: { dnsAddress: "127.88.0.153" },
  });
});

test("gives addresses of an environment that is no more to others when there are no new ones", async () => {
  const { own, client } = await openMesh();
  const { vip } = await client.setService(picture("a", { environment: "pr-1" }));
  await client.removeService({ environment: "pr-1", name: "a" });
  await client.removeEnvironment({ environment: "pr-1" });
  const last = { environment: "default", name: "last", slot: 64_769 };
  await own.database.db.insertInto("address").values(last).execute();
  expect(await client.setService(picture("b"))).toMatchObject({ vip });
  await expect(client.setService(picture("c"))).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
});
