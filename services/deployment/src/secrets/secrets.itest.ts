import { utimesSync } from "node:fs";
import { createAccessPolicy, PolicyBook } from "@hms/authorization";
import { agent, deployment, deploymentSecrets, ffiOptions } from "@hms/contracts";
import { Kernel, type Principal } from "@hms/kernel";
import { examineManifest } from "@hms/manifest";
import { openServiceDatabase } from "@hms/postgres";
import { createProcessRuntime } from "@hms/provider-process";
import { sealedBy, serviceSecretContext } from "@hms/secrets";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDeploymentService, type DeploymentTables, deploymentMigrations } from "../index.ts";
import type { ProgramVersion } from "../testing/test-program.ts";
import { openGround, outcomeOf, quiet } from "../testing/test-site.ts";
import { SecretVault } from "./secret-vault.ts";

const SUCCEEDED = deployment.RolloutState.SUCCEEDED;
const operator: Principal = { kind: "operator", id: "operator" };
const user = (id: string, ...roles: string[]): Principal => ({ kind: "user", id, roles });

const stack = new AsyncDisposableStack();
const book = new PolicyBook();
const audited: unknown[] = [];
let ground: Awaited<ReturnType<typeof openGround>>;
let kernel: Kernel;

beforeAll(async () => {
  ground = stack.use(await openGround());
  book.replace("file", []);
  book.replace("stored", []);
  const policy = createAccessPolicy(book);
  kernel = new Kernel({
    identity: { authenticate: () => operator },
    policy,
    audit: { accepts: true, record: (event) => void audited.push(event) },
  });
  const { mesh, sealing, database } = ground;
  const runtime = createProcessRuntime(ground.kernel.client(agent.AgentService, operator));
  const service = stack.use(
    createDeploymentService({ database: database.database, mesh, runtime, sealing, policy, log: quiet }),
  );
  kernel.register(service.registration);
  kernel.register(service.secrets);
  await service.ready;
});
afterAll(() => stack.disposeAsync());

const services = (who: Principal = operator) => kernel.client(deployment.DeploymentService, who);
const secrets = (who: Principal = operator) => kernel.client(deploymentSecrets.SecretService, who);

/** What the program of a service says, with its secret behind it. */
const NAMES = "secrets: {SUFFIX: word}";
const version = (name: string, more: Partial<ProgramVersion> = {}): ProgramVersion => ({
  version: "v",
  name,
  replicas: 1,
  manifest: NAMES,
  ...more,
});
const deploy = (program: ProgramVersion, who: Principal = operator) =>
  outcomeOf(services(who).deploy(ground.program.write(program)));

/** What the only replica of a service answers. */
async function answerOf(service: string): Promise<string> {
  const { replicas } = await services().getService({ service });
  const running = replicas.filter(({ replica }) => replica?.port);
  expect(running).toHaveLength(1);
  return (await fetch(`http://127.0.0.1:${running[0]?.replica?.port}/`)).text();
}

test("a service has the versions that it was deployed with until it is deployed or restarted with new ones, and goes back to them", async () => {
  await secrets().setSecret({ name: "word", value: "first-value" });
  expect((await deploy(version("app"))).ended.state).toBe(SUCCEEDED);
  expect(await answerOf("app")).toBe("vfirst-value");

  const set = await secrets().setSecret({ name: "word", value: "second-value" });
  expect(set).toMatchObject({ version: 2n, older: [{ service: "app", version: 1n, replicas: 1 }] });
  await outcomeOf(services().restart({ service: "app" }));
  expect(await answerOf("app")).toBe("vfirst-value");
  const plan = await services().plan(ground.program.write(version("app")));
  expect(plan.changes).toEqual([
    expect.objectContaining({ key: "secret word", before: "version 1", after: "version 2" }),
  ]);

  // The same program, without its sources.
  const renewed = await outcomeOf(services().restart({ service: "app", newSecrets: true }));
  expect(renewed.ended).toMatchObject({ state: SUCCEEDED, revision: 2n });
  expect(await answerOf("app")).toBe("vsecond-value");
  const { rollouts } = await services().listRollouts({ service: "app", withChanges: true, pageSize: 1 });
  expect(rollouts[0]).toMatchObject({ reason: "new secrets", changes: [{ key: "secret word", after: "version 2" }] });

  await outcomeOf(services().rollback({ service: "app" }));
  expect(await answerOf("app")).toBe("vfirst-value");
  const { secrets: listed } = await secrets().listSecrets({});
  expect(listed).toMatchObject([{ environment: "default", name: "word", uses: [{ service: "app", version: 1n }] }]);
  expect(listed[0]?.versions.map(({ version: number }) => number)).toEqual([2n, 1n]);
  expect(JSON.stringify(listed, (_, each) => (typeof each === "bigint" ? String(each) : each))).not.toContain("value-");
});

test("a plan for one version is not a plan for the next", async () => {
  const request = ground.program.write(version("app"));
  const { planId } = await services().plan(request);
  await secrets().setSecret({ name: "word", value: "third-value" });
  await expect(outcomeOf(services().deploy({ ...request, planId }))).rejects.toMatchObject({
    details: { reason: "PLAN_OUTDATED" },
  });
});

test("a manifest that names what there is not is refused before anything happens, with all of it and the nearest names", async () => {
  const [near, far] = ["wordd", "other"].map((name) => `\${secret.${name}}`);
  const manifest = `env: {URL: "x://${near}@${far}"}\nsecrets: [wird]`;
  const refused = await deploy(version("app", { manifest })).catch((error) => error);
  expect(refused).toMatchObject({ code: "INVALID_ARGUMENT", details: { reason: "SECRET_NOT_FOUND" } });
  const told = refused.details.fieldViolations.map(({ description }: { description: string }) => description);
  expect(told).toEqual([
    expect.stringMatching(/no secret "wordd".* for URL\. Did you mean "word"/),
    expect.stringMatching(/no secret "other".*secrets set other -e default/),
    expect.stringMatching(/no secret "wird".* for wird\. Did you mean "word"/),
  ]);
  await expect(services().plan(ground.program.write(version("app", { manifest })))).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
});

test("using, setting and revealing are permissions apart, and a policy can take each away", async () => {
  const [dora, otto, vera] = [user("dora", "developer"), user("otto", "operator"), user("vera", "viewer")];
  const word = { name: "word" };
  await expect(secrets(vera).listSecrets({})).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  for (const who of [dora, otto]) {
    expect((await secrets(who).listSecrets({})).secrets).toHaveLength(1);
    await expect(secrets(who).revealSecret(word)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  }
  await expect(secrets(dora).setSecret({ ...word, value: "x" })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  expect(await secrets(user("ada", "admin")).revealSecret(word)).toMatchObject({ version: 3n, value: "third-value" });
  expect((await deploy(version("app"), dora)).ended.state).toBe(SUCCEEDED);
  // What a command prints is as good as revealed.
  const command = services(otto).runCommand({ service: "app", command: ["env"] });
  await expect(command[Symbol.asyncIterator]().next()).rejects.toMatchObject({ details: { reason: "SECRET_DENIED" } });

  const plain = { service: "*", method: "*", allowedRoles: [], deniedRoles: [], requiresMfa: false, environment: "" };
  const cedar = [
    'forbid (principal, action == Action::"secrets:use", resource) when { resource.name == "word" };',
    'forbid (principal, action == Action::"secrets:reveal", resource) unless { context.mfa };',
  ];
  book.replace(
    "stored",
    cedar.map((each, index) => ({ ...plain, id: `p${index}`, auditLevel: 0, cedar: each })),
  );
  try {
    const ada = user("ada", "admin");
    await expect(secrets(ada).revealSecret(word)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(await secrets({ ...ada, mfa: true }).revealSecret(word)).toMatchObject({ version: 3n });
    await expect(deploy(version("app"), dora)).rejects.toMatchObject({ details: { reason: "SECRET_DENIED" } });
    await expect(outcomeOf(services(dora).restart({ service: "app", newSecrets: true }))).rejects.toMatchObject({
      details: { reason: "SECRET_DENIED" },
    });
    expect((await outcomeOf(services(dora).restart({ service: "app" }))).ended.state).toBe(SUCCEEDED);
  } finally {
    book.replace("stored", []);
  }
});

test("who may not read a service is not told that it uses a secret", async () => {
  const plain = { service: "*", method: "*", allowedRoles: [], deniedRoles: [], requiresMfa: false, environment: "" };
  const cedar = 'forbid (principal, action == Action::"services:read", resource) when { resource.name == "app" };';
  const otto = secrets(user("otto", "operator"));
  const word = { name: "word", value: "another-value" };
  expect((await otto.setSecret(word)).older).toMatchObject([{ service: "app", version: 3n }]);
  book.replace("stored", [{ ...plain, id: "p", auditLevel: 0, cedar }]);
  try {
    expect((await otto.setSecret(word)).older).toEqual([]);
    expect((await otto.listSecrets({})).secrets).toMatchObject([{ name: "word", uses: [] }]);
    await expect(otto.removeSecret({ name: "word" })).rejects.toMatchObject({
      message: expect.stringContaining("meant to run: 1 that you may not read."),
    });
  } finally {
    book.replace("stored", []);
  }
});

test("only versions that no kept revision needs are destroyed, and a service that is meant to run keeps its secret", async () => {
  const versionsNow = async () =>
    (await secrets().listSecrets({})).secrets
      .find(({ name }) => name === "word")
      ?.versions.map(({ version: number }) => number);
  // Nobody has ever had the fourth and the fifth one; revisions that can be gone back to have the others.
  await secrets().setSecret({ name: "word", value: "next-value" });
  expect(await versionsNow()).toEqual([6n, 3n, 2n, 1n]);
  await expect(secrets().removeSecret({ name: "word" })).rejects.toMatchObject({
    details: { reason: "SECRET_IN_USE" },
    message: expect.stringContaining('"app"'),
  });
  await outcomeOf(services().stop({ service: "app" }));
  expect(await secrets().removeSecret({ name: "word" })).toMatchObject({ services: ["app"] });
  await expect(secrets().revealSecret({ name: "word" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  for (const again of [services().restart({ service: "app" }), services().rollback({ service: "app" })]) {
    await expect(outcomeOf(again)).rejects.toMatchObject({ details: { reason: "SECRET_DESTROYED" } });
  }
  // Another value is another version, also under the old name.
  expect(await secrets().setSecret({ name: "word", value: "last-value" })).toMatchObject({ version: 7n });
  await expect(outcomeOf(services().rollback({ service: "app", revision: 1n }))).rejects.toMatchObject({
    details: { reason: "SECRET_DESTROYED" },
  });
  expect((await deploy(version("app"))).ended.state).toBe(SUCCEEDED);
  expect(await answerOf("app")).toBe("vlast-value");
});

test("values lie sealed, and are sealed anew when the installation's key is replaced", async () => {
  const { db } = ground.database.database;
  const rows = () => db.selectFrom("secret_version").select("sealed").where("sealed", "is not", null).execute();
  const { id } = ground.sealing;
  for (const { sealed } of await rows()) {
    expect(sealed?.includes("value")).toBe(false);
    expect(sealedBy(sealed as Buffer)).toBe(id);
  }
  // One that was changed where it lies keeps no other from the new key.
  await secrets().setSecret({ name: "bad", environment: "aaa", value: "value" });
  const bad = db.selectFrom("secret_version").select("sealed").where("environment", "=", "aaa");
  const { sealed: good } = await bad.executeTakeFirstOrThrow();
  const put = (sealed: Buffer) =>
    db.updateTable("secret_version").set({ sealed }).where("environment", "=", "aaa").execute();
  ground.sealing.replace();
  const flipped = Buffer.from(good as Buffer);
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
  await put(flipped);
  const damaged = { code: "DATA_LOSS", message: expect.stringContaining("hms-sys secrets remove bad -e aaa") };
  await expect(secrets().resealSecrets({})).rejects.toMatchObject(damaged);
  const stranger = Buffer.from(good as Buffer);
  stranger.fill(1, 1, 9);
  await put(stranger);
  const unknown = { code: "FAILED_PRECONDITION", details: { reason: "OTHER_SEALING_KEY" } };
  await expect(secrets().resealSecrets({})).rejects.toMatchObject(unknown);
  await put(good as Buffer);
  expect(await secrets().resealSecrets({})).toMatchObject({ resealed: 1 });
  await secrets().removeSecret({ name: "bad", environment: "aaa" });
  for (const { sealed } of await rows()) expect(sealedBy(sealed as Buffer)).toBe(ground.sealing.id);
  const past = Date.now() / 1000 - 7200;
  utimesSync(`${ground.program.directory}/config/secrets.key`, past, past);
  ground.sealing.forgetOld();
  expect(await secrets().revealSecret({ name: "word" })).toMatchObject({ value: "last-value" });
  await outcomeOf(services().restart({ service: "app" }));
  expect(await answerOf("app")).toBe("vlast-value");
});

test("what revisions were deployed with is there without the database", async () => {
  const open = { source: ground.database.source, service: "deployment", migrations: deploymentMigrations };
  const database = await openServiceDatabase<DeploymentTables>(open);
  const vault = new SecretVault({ database, sealing: ground.sealing });
  await vault.preload();
  await database[Symbol.asyncDispose]();
  const { manifest } = examineManifest(ground.program.write(version("app")).manifest);
  const app = { environment: "default", service: "app" };
  const { secrets: sealed, secretVariables } = await vault.of(app, { manifest, secrets: { word: 7 } });
  expect(secretVariables).toMatchObject([{ name: "SUFFIX", pieces: [{ piece: { case: "secret", value: "word" } }] }]);
  const context = serviceSecretContext({ environment: "default", name: "word", version: 7 });
  const [word] = sealed as { sealed: Uint8Array }[];
  expect(ground.sealing.open(word?.sealed ?? new Uint8Array(), context).toString()).toBe("last-value");
  await expect(vault.of(app, { manifest, secrets: { word: 99 } })).rejects.toThrow();
});

test("a request that a policy has recorded whole is recorded without the value", async () => {
  const plain = { service: "*", method: "*", allowedRoles: [], deniedRoles: [], requiresMfa: false, environment: "" };
  const cedar =
    'permit (principal, action == Action::"secrets:write", resource) when { principal in Role::"operator" };';
  const { REQUEST } = ffiOptions.AuditLevel;
  book.replace("stored", [{ ...plain, id: "p", auditLevel: REQUEST, cedar }]);
  try {
    audited.length = 0;
    await secrets(user("otto", "operator")).setSecret({ name: "whole", value: "third-value" });
    const written = JSON.stringify(audited, (_, each) => (typeof each === "bigint" ? String(each) : each));
    expect(written).toContain('"name":"whole"');
    expect(written).not.toContain("third-value");
  } finally {
    book.replace("stored", []);
  }
});

test("release commands and exec gates get them, builds do not, and no event holds a value", async () => {
  const check = `test "$SUFFIX" = last-value`;
  const manifest = `${NAMES}\ngates: [{exec: '${check}', at: start}]`;
  const request = ground.program.write(version("more", { manifest }));
  const text = request.manifest.replace("run:", `run:\n  build: '! ${check}'\n  release: '${check}'`);
  const { ended, events } = await outcomeOf(services().deploy({ ...request, manifest: text }));
  expect(ended.state).toBe(SUCCEEDED);
  const written = [events, audited].map((all) =>
    JSON.stringify(all, (_, each) => (typeof each === "bigint" ? String(each) : each)),
  );
  for (const text of written) expect(text).not.toMatch(/(?:first|second|third|last)-value/);
  expect(audited.length).toBeGreaterThan(0);
});
