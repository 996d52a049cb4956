import { durationFromMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { agent, deployment } from "@hms/contracts";
import { type AuditEvent, componentPrincipal, Kernel, type Principal } from "@hms/kernel";
import { createProcessRuntime } from "@hms/provider-process";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createDeploymentService } from "../index.ts";
import { openGround, outcomeOf, quiet } from "../testing/test-site.ts";

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
    now: () => now,
  });
  const kernel = new Kernel({
    identity: { authenticate: () => anna },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record() {} },
  });
  kernel.register(service.registration);
  await service.ready;
  const client = kernel.client(deployment.DeploymentService, anna);
  // Who is not the operator may deploy a preview from where the operator has deployed what it shows.
  const deploy = (environment: string, version: string, as = environment.startsWith("pr-") ? anna : operator) => {
    const request = { ...ground.program.write({ version, replicas: 1 }), environment };
    return outcomeOf(kernel.client(deployment.DeploymentService, as).deploy(request));
  };
  return { client, deploy, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}
type Server = Awaited<ReturnType<typeof openServer>>;

const hours = (count: number) => ({ lifetime: durationFromMs(count * HOUR_MS) });
const previews = async ({ client }: Server) =>
  (await client.listPreviews({})).previews.map(({ environment, services }) => [environment, ...services]);
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
  // What is asked of another one has it look.
  await server.client.setPreview({ environment: "other", ...hours(8) });
  await isGone(server, "pr-7");
  expect(running()).toEqual(["default/echo"]);
  const reason = 'the preview "pr-7" has expired';
  expect(await removals()).toEqual([{ environment: "pr-7", principal: "previews", reason, phase: "succeeded" }]);
  expect(audited).toMatchObject([
    { code: "deployment.preview-ended", resource: "echo", environment: "pr-7", outcome: "OK", reason },
  ]);
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
