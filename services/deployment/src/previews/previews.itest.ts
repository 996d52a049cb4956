import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { agent, deployment, deploymentSecrets } from "@hms/contracts";
import { type AuditEvent, ChangeSignal, componentPrincipal, Kernel, type Principal } from "@hms/kernel";
import { createProcessRuntime } from "@hms/provider-process";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createDeploymentService } from "../index.ts";
import { openGround, outcomeOf, quiet } from "../testing/test-site.ts";
import { PreviewKeeper } from "./preview-keeper.ts";
import { holdEnd, lockPreview, type PreviewRow, PreviewStore } from "./preview-store.ts";
import { Previews } from "./previews.ts";

const HOUR_MS = 3_600_000;
const operator: Principal = { kind: "operator", id: "operator" };
const anna: Principal = { kind: "user", id: "anna" };

let ground: Awaited<ReturnType<typeof openGround>>;
let audited: AuditEvent[];
let now = Date.now();

beforeAll(async () => {
  ground = await openGround();
});
beforeEach(() => {
  audited = [];
});
afterAll(() => ground[Symbol.asyncDispose]());

/** A server with a clock that the test moves. */
async function openServer() {
  const service = createDeploymentService({
    database: ground.database.database,
    mesh: ground.mesh,
    runtime: createProcessRuntime(ground.kernel.client(agent.AgentService, componentPrincipal("test"))),
    log: quiet,
    audit: { record: (event) => void audited.push(event) },
    sealing: ground.sealing,
    now: () => now,
  });
  const kernel = new Kernel({
    identity: { authenticate: () => anna },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record() {} },
  });
  kernel.register(service.registration);
  kernel.register(service.secrets);
  await service.ready;
  const client = kernel.client(deployment.DeploymentService, anna);
  // Who is not the operator may deploy a preview from where the operator has deployed what it shows.
  const deploy = (environment: string, version: string, as = environment.startsWith("pr-") ? anna : operator) => {
    const request = { ...ground.program.write({ version, replicas: 1 }), environment };
    return outcomeOf(kernel.client(deployment.DeploymentService, as).deploy(request));
  };
  const secrets = kernel.client(deploymentSecrets.SecretService, operator);
  return { client, secrets, deploy, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}
type Server = Awaited<ReturnType<typeof openServer>>;

const hours = (count: number) => ({ lifetime: durationFromMs(count * HOUR_MS) });
const previews = async ({ client }: Server) =>
  (await client.listPreviews({})).previews.map(({ environment, services }) => [environment, ...services]);
const meshEnvironments = async () =>
  (await ground.mesh.getSnapshot({})).content?.environments.map(({ name }) => name) ?? [];
const running = () => ground.agent.running().map((id) => id.split("/").slice(0, 2).join("/"));
const isGone = (server: Server, environment: string) =>
  waitFor(async () => !(await previews(server)).some(([name]) => name === environment), {
    describe: () => `${environment} to be gone; ${running()} runs`,
  });
const removals = () =>
  ground.database.database.db
    .selectFrom("rollout")
    .select(["environment", "principal", "reason", "phase"])
    .where("kind", "=", "remove")
    .orderBy("position")
    .execute();

test("a preview serves until its end, which can be moved, and is removed by itself: the journal and the audit log say why", async () => {
  await using server = await openServer();
  await server.deploy("", "1");
  const { preview } = await server.client.setPreview({ environment: "pr-7", ...hours(2) });
  expect(preview).toMatchObject({ environment: "pr-7", baseEnvironment: "default", owner: "user:anna", services: [] });
  const { events } = await server.deploy("pr-7", "2");
  expect(events[0]?.event.value).toMatchObject({
    warnings: expect.arrayContaining([
      expect.stringMatching(/preview of "default": it is removed at .*Secrets, policies/),
    ]),
  });
  expect(running().toSorted()).toEqual(["default/echo", "pr-7/echo"]);
  expect(await previews(server)).toEqual([["pr-7", "echo"]]);

  const moved = await server.client.setPreview({ environment: "pr-7", mustExist: true, ...hours(4) });
  expect(timestampDate(moved.preview?.expiresAt ?? ({ seconds: 0n, nanos: 0 } as never)).getTime()).toBe(
    now + 4 * HOUR_MS,
  );
  now += 3 * HOUR_MS;
  await server.client.setPreview({ environment: "other", ...hours(1) });
  expect(await previews(server)).toEqual([["other"], ["pr-7", "echo"]]);
  now += HOUR_MS;
  await expect(server.deploy("pr-7", "3")).rejects.toMatchObject({ details: { reason: "PREVIEW_ENDED" } });
  expect(await meshEnvironments()).toContain("pr-7");
  // What is asked of another one has it look.
  await server.client.setPreview({ environment: "other", ...hours(8) });
  await isGone(server, "pr-7");
  expect(running()).toEqual(["default/echo"]);
  const reason = 'the preview "pr-7" has expired';
  expect(await removals()).toEqual([{ environment: "pr-7", principal: "previews", reason, phase: "succeeded" }]);
  expect(audited).toMatchObject([
    { code: "deployment.preview-ended", resource: "echo", environment: "pr-7", outcome: "OK", reason },
  ]);
  expect(await meshEnvironments()).not.toContain("pr-7");
});

test("what was prepared in a preview ends with it: the next one of its name has no secrets and no freezes", async () => {
  await using server = await openServer();
  const { client, secrets } = server;
  await client.setPreview({ environment: "pr-11", ...hours(1) });
  await secrets.setSecret({ environment: "pr-11", name: "payment-key", value: "s3cret" });
  const until = timestampFromMs(Date.now() + HOUR_MS);
  await client.freeze({ environment: "pr-11", service: "", until, reason: "a demo" });
  await client.endPreview({ environment: "pr-11" });
  await isGone(server, "pr-11");
  expect(audited.map(({ method, resource, reason }) => [method.split("/")[1], resource, reason])).toEqual([
    ["RemoveSecret", "payment-key", 'the preview "pr-11" was ended by user:anna'],
    ["Unfreeze", "", 'the preview "pr-11" was ended by user:anna'],
  ]);
  expect((await secrets.listSecrets({ environment: "pr-11" })).secrets).toEqual([]);
  const sealed = ground.database.database.db.selectFrom("secret_version").select("sealed");
  expect(await sealed.where("environment", "=", "pr-11").execute()).toEqual([{ sealed: null }]);
  await client.setPreview({ environment: "pr-11", ...hours(1) });
  expect((await client.listFreezes({ environment: "pr-11" })).freezes).toEqual([]);
  await client.endPreview({ environment: "pr-11" });
  await isGone(server, "pr-11");
});

test("an environment with secrets or freezes is no preview to be, before its first deploy either", async () => {
  await using server = await openServer();
  const { client, secrets } = server;
  await secrets.setSecret({ environment: "prod-1", name: "payment-key", value: "s3cret" });
  const until = timestampFromMs(Date.now() + HOUR_MS);
  await client.freeze({ environment: "prod-2", service: "", until, reason: "an audit" });
  for (const environment of ["prod-1", "prod-2"]) {
    await expect(client.setPreview({ environment })).rejects.toMatchObject({
      details: { reason: "ENVIRONMENT_IN_USE" },
    });
  }
});

test("what becomes of the environment between a deploy's check and its record refuses it", async () => {
  const { database } = ground.database;
  const store = new PreviewStore(database);
  const parts = { access: {} as never, moved: new ChangeSignal(), now: () => now };
  const previews = new Previews({ store, ...parts });
  const row = { environment: "pr-12", base_environment: "default", owner: "user:anna" };
  const expires_at = new Date(now + HOUR_MS);
  const looksAgain = async (again: Awaited<ReturnType<Previews["admit"]>>["again"]) => database.transaction(again);
  const before = await previews.admit("pr-12");
  expect(await store.add({ ...row, expires_at }, 50)).toBe("added");
  await expect(looksAgain(before.again)).rejects.toMatchObject({ details: { reason: "PREVIEW_MADE" } });
  const during = await previews.admit("pr-12");
  await looksAgain(during.again);
  const preview = (await store.find("pr-12")) as PreviewRow;
  expect(await store.forget(preview, async () => {})).toEqual({ secrets: [], freezes: [] });
  await expect(looksAgain(during.again)).rejects.toMatchObject({ details: { reason: "PREVIEW_ENDED" } });
});

test("a preview is not forgotten under a deploy that is being written down, nor made under one", async () => {
  const { database } = ground.database;
  const store = new PreviewStore(database);
  const row = { environment: "pr-13", base_environment: "default", owner: "user:anna" };
  const service = { environment: "pr-13", name: "echo" };
  let added: Promise<string> | undefined;
  await database.transaction(async (trx) => {
    await lockPreview(trx, "pr-13", "keep");
    added = store.add({ ...row, expires_at: new Date(now) }, 50);
    await trx.insertInto("service").values(service).execute();
  });
  expect(await added).toBe("in use");
  await database.db.deleteFrom("service").where("environment", "=", "pr-13").execute();
  expect(await store.add({ ...row, expires_at: new Date(now) }, 50)).toBe("added");
  const preview = (await store.find("pr-13")) as PreviewRow;
  let forgotten: Promise<unknown> | undefined;
  await database.transaction(async (trx) => {
    await lockPreview(trx, "pr-13", "keep");
    forgotten = store.forget(preview, async () => {});
    await trx.insertInto("service").values(service).execute();
  });
  expect(await forgotten).toBeUndefined();
  await database.db.deleteFrom("service").where("environment", "=", "pr-13").execute();
  expect(await store.forget(preview, async () => {})).toBeDefined();
});

test("what is extended while its services are being removed keeps those whose removal has not begun", async () => {
  const { database } = ground.database;
  const store = new PreviewStore(database);
  const row = { environment: "pr-14", base_environment: "default", owner: "user:anna" };
  await store.add({ ...row, expires_at: new Date(now) }, 50);
  const services = ["a", "b"].map((name) => ({ environment: "pr-14", name }));
  await database.db.insertInto("service").values(services).execute();
  const removed: string[] = [];
  const keeper = new PreviewKeeper({
    ...{ store, moved: new ChangeSignal(), now: () => now, log: quiet as never, audit: undefined },
    remove: async ({ service }, preview) => {
      removed.push(service);
      expect(await store.move(preview, { expires_at: new Date(now + HOUR_MS), ended_by: "" })).toBe(true);
      expect(await store.move(preview, { expires_at: new Date(now), ended_by: "" })).toBe(false);
      expect(await database.transaction((trx) => holdEnd(trx, preview))).toBe(false);
    },
    removeEnvironment: async () => {},
    destroyed: () => {},
  });
  await keeper.look();
  await keeper.look();
  expect(removed).toEqual(["a"]);
  for (const table of ["service", "preview"] as const)
    await database.db.deleteFrom(table).where("environment", "=", "pr-14").execute();
});

test("whoever extends a preview that has expired hears which removals go on, of what they may read", async () => {
  const { database } = ground.database;
  const store = new PreviewStore(database);
  const previews = new Previews({ store, access: {} as never, moved: new ChangeSignal(), now: () => now });
  const context = { filter: () => ({ allows: ({ name }: { name: string }) => name !== "hidden" }) };
  const environment = "pr-16";
  const row = { environment, base_environment: "default", owner: "user:anna", expires_at: new Date(now) };
  await store.add(row, 50);
  const names = ["going", "hidden", "staying"];
  await database.db
    .insertInto("service")
    .values(names.map((name) => ({ environment, name })))
    .execute();
  const rollout = { environment, kind: "remove", phase: "planned", revision: "0", previous_revision: "0" } as const;
  const removal = { ...rollout, version: "", principal: "previews", request: "{}", state: "{}" };
  const begun = ["going", "hidden"].map((service) => ({ ...removal, service, rollout_id: `pr-16-${service}` }));
  await database.db.insertInto("rollout").values(begun).execute();
  const request = create(deployment.SetPreviewRequestSchema, { environment, ...hours(2) });
  const { warnings, preview } = await previews.set(request, context as never);
  expect(warnings).toEqual([expect.stringMatching(/the removal of "going" has begun, and goes on/)]);
  expect(preview?.services).toEqual(["going", "staying"]);
  expect((await previews.set(request, context as never)).warnings).toEqual([]);
  for (const table of ["rollout", "service", "preview"] as const)
    await database.db.deleteFrom(table).where("environment", "=", environment).execute();
});

test("another deploy to a preview keeps it, although its last service was removed before", async () => {
  await using server = await openServer();
  const { client } = server;
  await client.setPreview({ environment: "pr-15", ...hours(1) });
  await server.deploy("pr-15", "1");
  const store = new PreviewStore(ground.database.database);
  const before = (await store.find("pr-15")) as PreviewRow;
  await outcomeOf(client.remove({ environment: "pr-15", service: "echo" }));
  expect(await store.hasLost(before)).toBe(true);
  await client.setPreview({ environment: "pr-15" });
  const after = (await store.find("pr-15")) as PreviewRow;
  expect(after.expires_at).toEqual(before.expires_at);
  expect(await store.hasLost(after)).toBe(false);
  await client.endPreview({ environment: "pr-15" });
  await isGone(server, "pr-15");
});

test("a server that was away at the end of a preview removes it when it comes", async () => {
  {
    await using server = await openServer();
    await server.client.setPreview({ environment: "pr-8", ...hours(1) });
    await server.deploy("pr-8", "1");
  }
  now += HOUR_MS;
  await using server = await openServer();
  await isGone(server, "pr-8");
  expect(running()).toEqual(["default/echo"]);
});

test("a preview ends when somebody says so, also from under a rollout that waits, or has removed what was there", async () => {
  await using server = await openServer();
  for (const environment of ["pr-9", "pr-10"]) {
    await server.client.setPreview({ environment, ...hours(24) });
    await server.deploy(environment, "1");
  }
  const manifest = "rollout: {strategy: blue-green, promote: manual}";
  const manual = ground.program.write({ version: "2", replicas: 1, manifest });
  for await (const { event } of server.client.deploy({ ...manual, environment: "pr-9" })) {
    if (event.case === "stepStarted" && /until somebody/.test(event.value.title)) break;
  }
  await server.client.endPreview({ environment: "pr-9" });
  await isGone(server, "pr-9");
  expect((await removals()).at(-1)?.reason).toBe('the preview "pr-9" was ended by user:anna');
  await outcomeOf(server.client.remove({ environment: "pr-10", service: "echo" }));
  await server.client.setPreview({ environment: "other", ...hours(9) });
  await isGone(server, "pr-10");
});

test("what is no preview, or cannot be one, is refused with what to do", async () => {
  await using server = await openServer();
  const { client } = server;
  await expect(client.setPreview({ environment: "default" })).rejects.toMatchObject({
    details: { reason: "ENVIRONMENT_IN_USE" },
  });
  await server.deploy("staging", "1");
  await expect(client.setPreview({ environment: "staging" })).rejects.toMatchObject({
    message: expect.stringContaining("Choose another name"),
  });
  for (const request of [
    { environment: "a", ...hours(24 * 31) },
    { environment: "a", lifetime: durationFromMs(1000) },
    { environment: "A b" },
    { environment: "" },
  ]) {
    await expect(client.setPreview(request)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  }
  const missing = { code: "NOT_FOUND", message: expect.stringContaining("hms-sys previews") };
  await expect(client.setPreview({ environment: "a", mustExist: true })).rejects.toMatchObject(missing);
  await expect(client.endPreview({ environment: "a" })).rejects.toMatchObject(missing);
  const there = (await client.listPreviews({})).previews.length;
  for (let count = there; count < 50; count += 1) await client.setPreview({ environment: `many-${count}` });
  await expect(client.setPreview({ environment: "one-more" })).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
  expect((await client.listPreviews({ baseEnvironment: "staging" })).previews).toEqual([]);
});
