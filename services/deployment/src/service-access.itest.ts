import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createAccessPolicy, PolicyBook } from "@hms/authorization";
import { agent, deployment } from "@hms/contracts";
import { Kernel, type Principal } from "@hms/kernel";
import { createProcessRuntime } from "@hms/provider-process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDeploymentService } from "./index.ts";
import { openGround, quiet } from "./testing/test-site.ts";

const stack = new AsyncDisposableStack();
const book = new PolicyBook();
const operator: Principal = { kind: "operator", id: "operator" };
const user = (id: string, ...roles: string[]): Principal => ({ kind: "user", id, roles });
const NAMES = ["apple", "avocado", "banana", "cherry", "date"];

let ground: Awaited<ReturnType<typeof openGround>>;
let kernel: Kernel;
const as = (principal: Principal) => kernel.client(deployment.DeploymentService, principal);

beforeAll(async () => {
  ground = stack.use(await openGround());
  const { database } = ground.database;
  const services = ["default", "prod", "staging"].flatMap((environment) =>
    NAMES.map((name, index) => ({ environment, name, owner: index % 2 === 0 ? "user:anna" : "user:bob" })),
  );
  await database.db.insertInto("service").values(services).execute();
  book.replace("file", []);
  book.replace("stored", []);
  const runtime = createProcessRuntime(ground.kernel.client(agent.AgentService, operator));
  const options = { database, mesh: ground.mesh, runtime, log: quiet };
  const facts: { ownerOf?: ReturnType<typeof createDeploymentService>["ownerOf"] } = {};
  const policy = createAccessPolicy(book, {
    factsOf: (_, service, environment = "default") => ({ owner: facts.ownerOf?.({ environment, service }) }),
  });
  const service = stack.use(createDeploymentService({ ...options, policy }));
  facts.ownerOf = service.ownerOf;
  kernel = new Kernel({
    identity: { authenticate: () => operator },
    policy,
    audit: { accepts: true, record() {} },
  });
  kernel.register(service.registration);
  await service.ready;
});
afterAll(() => stack.disposeAsync());

/** Puts policies written in Cedar in force. */
function inForce(...texts: string[]): void {
  const plain = { service: "*", method: "*", allowedRoles: [], deniedRoles: [], requiresMfa: false, environment: "" };
  book.replace(
    "stored",
    texts.map((cedar, index) => ({ ...plain, id: `p${index}`, auditLevel: 0, cedar })),
  );
}

async function listed(principal: Principal, pageSize = 100): Promise<string[]> {
  const names: string[] = [];
  let pageToken = "";
  do {
    const page = await as(principal).listServices({ pageSize, pageToken });
    names.push(...page.services.map(({ environment, name }) => `${environment}/${name}`));
    ({ nextPageToken: pageToken } = page);
  } while (pageToken !== "");
  return names;
}

const OWN =
  'permit (principal, action in [Action::"services:read", Action::"services:scale"], resource) when { resource has owner && resource.owner == principal.name };';
const LISTING = 'permit (principal, action == Action::"services:read", resource == Resource::"services");';

describe("a list of services", () => {
  test("shows everything to whom a role lets read everything", async () => {
    inForce();
    expect(await listed(user("x", "viewer"))).toHaveLength(15);
    expect(await listed(operator)).toHaveLength(15);
    await expect(listed(user("x"))).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });

  test("shows each only what policies let it read, whatever the size of pages", async () => {
    inForce(OWN, LISTING);
    const bobs = ["default", "prod", "staging"].flatMap((place) => [`${place}/avocado`, `${place}/cherry`]);
    for (const size of [1, 2, 100]) expect(await listed(user("bob"), size)).toEqual(bobs);
    expect(await listed(user("carl"))).toEqual([]);
  });

  test("leaves out what a policy forbids, though a role lets read it", async () => {
    inForce(
      'forbid (principal, action == Action::"services:read", resource in Environment::"prod") unless { principal in Role::"manager" };',
    );
    expect(await listed(user("x", "viewer"), 4)).toHaveLength(10);
    expect(await listed(user("x", "viewer", "manager"), 4)).toHaveLength(15);
  });

  test("asks row by row what a database cannot be told", async () => {
    inForce(
      LISTING,
      'permit (principal, action == Action::"services:read", resource) when { resource.name like "a*" && resource.environment != "prod" };',
    );
    const found = ["default/apple", "default/avocado", "staging/apple", "staging/avocado"];
    for (const size of [1, 3, 100]) expect(await listed(user("x"), size)).toEqual(found);
  });

  test("does not show who lives in an environment what is elsewhere", async () => {
    inForce();
    const anna: Principal = { ...user("anna", "viewer"), environment: "staging" };
    const own = await as(anna).listServices({ environment: "staging" });
    expect(own.services).toHaveLength(5);
    await expect(as(anna).listServices({ environment: "prod" })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(as(anna).listServices({})).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });
});

test("one service is open to its owner and to nobody else whom a policy does not name", async () => {
  inForce(OWN);
  const apple = { environment: "default", service: "apple" };
  await expect(as(user("anna")).getService(apple)).resolves.toMatchObject({ service: { name: "apple" } });
  await expect(as(user("bob")).getService(apple)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
});

test("shows freezes of what a policy lets read", async () => {
  inForce();
  const until = timestampFromMs(Date.now() + 600_000);
  for (const service of ["apple", "avocado", ""]) {
    await as(operator).freeze({ environment: "prod", service, until, reason: "test" });
  }
  const shown = async () => (await as(user("x", "viewer")).listFreezes({})).freezes.map(({ service }) => service);
  expect(await shown()).toEqual(["", "apple", "avocado"]);
  inForce(
    'forbid (principal, action == Action::"services:read", resource) when { resource has owner && resource.owner == "user:bob" };',
  );
  expect(await shown()).toEqual(["", "apple"]);
});

test("shows previews, and what is in them, as policies let read it", async () => {
  inForce();
  const at = new Date();
  const row = { base_environment: "default", owner: "user:anna", created_at: at, set_at: at };
  const expires_at = new Date(at.getTime() + 7_200_000);
  const rows = ["staging", "empty"].map((environment) => ({ environment, ...row, expires_at }));
  await ground.database.database.db.insertInto("preview").values(rows).execute();
  const shown = async () =>
    (await as(user("x", "viewer")).listPreviews({})).previews.map(({ environment, services }) => [
      environment,
      services.length,
    ]);
  expect(await shown()).toEqual([
    ["empty", 0],
    ["staging", 5],
  ]);
  inForce(
    'forbid (principal, action == Action::"services:read", resource) when { resource has owner && resource.owner == "user:bob" };',
    'forbid (principal, action == Action::"services:read", resource in Environment::"empty");',
  );
  expect(await shown()).toEqual([["staging", 3]]);
  // So does the answer of whoever deploys there, and says no lifetime.
  const { preview } = await as(user("x", "developer")).setPreview({ environment: "staging" });
  expect(preview?.services).toHaveLength(3);
});

test("who may not remove what is in a preview does not end it earlier", async () => {
  inForce();
  const developer = as(user("dora", "developer"));
  const sooner = { environment: "staging", lifetime: durationFromMs(3_600_000) };
  await expect(developer.setPreview(sooner)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  await expect(developer.endPreview({ environment: "staging" })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  const later = { ...sooner, lifetime: durationFromMs(10_800_000) };
  await expect(developer.setPreview(later)).resolves.toMatchObject({ preview: { environment: "staging" } });
  await ground.database.database.db.deleteFrom("preview").execute();
});

describe("a deploy by a role", () => {
  async function deploying(principal: Principal, version = "1") {
    const stream = as(principal).deploy(ground.program.write({ version }));
    for await (const { event } of stream) if (event.case === "ended") return event.value;
    throw new Error("the stream ended before the rollout");
  }

  test("names no folder of the platform's disk that the operator has not deployed the service from", async () => {
    inForce();
    const developer = user("dora", "developer");
    await expect(as(developer).plan(ground.program.write({ version: "1" }))).rejects.toMatchObject({
      details: { reason: "SOURCE_NOT_OPERATORS" },
    });
    await expect(deploying(developer)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      details: { reason: "SOURCE_NOT_OPERATORS" },
    });
    expect(await deploying(operator)).toMatchObject({ state: deployment.RolloutState.SUCCEEDED });
    expect(await deploying(developer, "2")).toMatchObject({ state: deployment.RolloutState.SUCCEEDED });
  });

  test("overrides a freeze only by a role that may freeze", async () => {
    inForce();
    const until = timestampFromMs(Date.now() + 600_000);
    const echo = { environment: "default", service: "echo" };
    await as(operator).freeze({ ...echo, until, reason: "test" });
    const request = { ...ground.program.write({ version: "9" }), overrideFreeze: true };
    const forced = async () => {
      for await (const { event } of as(user("dora", "developer")).deploy(request)) return event;
      throw new Error("the stream ended at once");
    };
    await expect(forced()).rejects.toMatchObject({
      message: expect.stringContaining("Ask somebody with services:freeze"),
    });
    await as(operator).unfreeze(echo);
  });

  test("finds its own rollout again by the id that it chose, and nobody else's", async () => {
    inForce();
    const metadata = { "x-hms-idempotency-key": "abcdefgh12345" };
    const begin = async (principal: Principal, version: string) => {
      const stream = as(principal).deploy(ground.program.write({ version }), { metadata });
      for await (const { event } of stream) if (event.case === "ended") return event.value;
      throw new Error("the stream ended before the rollout");
    };
    const first = await begin(operator, "4");
    expect(await begin(operator, "5")).toEqual(first);
    await expect(begin(user("dora", "developer"), "6")).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      details: { reason: "ID_TAKEN" },
    });
  });

  test("is judged again once its manifest has said which service it is about", async () => {
    inForce('forbid (principal, action == Action::"services:deploy", resource) when { resource.name == "echo" };');
    await expect(deploying(user("dora", "developer"), "3")).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("may not deploy echo"),
    });
  });
});

test("hides rollouts and hints of services that a policy hides", async () => {
  inForce();
  const { rollouts } = await as(operator).listRollouts({ environment: "default", service: "echo" });
  const viewer = as(user("x", "viewer"));
  const watched = async () => {
    for await (const { sequence } of viewer.watchRollout({ rolloutId: rollouts[0]?.rolloutId ?? "" })) return sequence;
    throw new Error("the stream ended at once");
  };
  const misspelt = { environment: "default", service: "echp" };
  expect(await watched()).toBe(1n);
  await expect(viewer.getService(misspelt)).rejects.toThrow('Did you mean "echo"');
  inForce('forbid (principal, action == Action::"services:read", resource == Resource::"services/default/echo");');
  await expect(watched()).rejects.toMatchObject({ code: "NOT_FOUND", details: { reason: "ROLLOUT_NOT_FOUND" } });
  await expect(viewer.getService(misspelt)).rejects.toThrow(/^(?!.*echo)/);
});
