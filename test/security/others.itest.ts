import { createHash } from "node:crypto";
import { type automationSteps, identityKeys, identitySessions, identityUsers } from "@hms/contracts";
import { HmsError, type Principal } from "@hms/kernel";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as automation from "../../services/automation/src/testing/automation-scene.ts";
import { openSession } from "../../services/identity/src/sessions/session-store.ts";
import { type IdentityProcess, IdentityScene, operator } from "../../services/identity/src/testing/identity-scene.ts";
import * as operations from "../../services/integration/src/testing/operation-scene.ts";
import * as access from "../../services/registry/src/testing/access-scene.ts";
import { authorizationRows } from "./authorization-rows.ts";

/** A call about what belongs to anna, made as whoever is given. */
interface Attempt {
  readonly anna: Principal;
  readonly ben: Principal;
  call(as: Principal): Promise<unknown>;
  /** For lists that leave out what is others': whether an answer has what is anna's. */
  shows?(answer: unknown): boolean;
}

let identity: IdentityScene;
let running: IdentityProcess;
let registry: Awaited<ReturnType<typeof access.openRegistryHere>>;
let integration: Awaited<ReturnType<typeof operations.serve>>;
let runs: automation.AutomationScene;
let made = 0;

beforeAll(async () => {
  [identity, registry, integration, runs] = await Promise.all([
    IdentityScene.open(),
    access.openRegistryHere(),
    operations.openDatabase().then((own) => operations.serve(own, { lookup: () => ({}) })),
    automation.openAutomationScene(),
  ]);
  running = await identity.start();
});
afterAll(async () => {
  const scenes = [identity, runs].map((scene) => scene[Symbol.asyncDispose]());
  await Promise.all([operations.clearScene(), access.clearScene(), ...scenes]);
  expect(identity.failures).toEqual([]);
});

const keysAs = (who: Principal) => running.kernel.client(identityKeys.KeyService, who);
const sessionsAs = (who: Principal) => running.kernel.client(identitySessions.SessionService, who);

/** A person with a session, a signed-in program and a key. */
async function person() {
  made += 1;
  const login = `person${made}`;
  const { user } = await running.kernel.client(identityUsers.UserService, operator).createUser({ login });
  const { key } = await keysAs(operator).createKey({ user: login, name: "first" });
  const origin = { address: "127.0.0.1", userAgent: "test", methods: ["pwd"] };
  const { token, session } = await openSession(identity.database.db, user?.userId ?? "", origin);
  const as = (await running.identity.tokens.principalOf(token)) as Principal;
  const digest = createHash("sha256").update(login).digest();
  const grant = { accountId: user?.userId, clientId: "app-1", openid: { scope: "openid services:read" } };
  await identity.database.db
    .insertInto("oidc_artifact")
    .values({
      kind: "Grant",
      id_sha256: digest,
      payload: JSON.stringify(grant),
      account_id: user?.userId ?? null,
      expires_at: new Date(Date.now() + 60_000),
    })
    .execute();
  const programId = `program-${digest.toString("hex")}`;
  return { login, as, keyId: key?.keyId ?? "", sessionId: session.sessionId, programId };
}

/** What belongs to one person and is asked for by another. */
async function ofAccount(
  call: (anna: Awaited<ReturnType<typeof person>>, as: Principal) => Promise<unknown>,
): Promise<Attempt> {
  const [anna, ben] = [await person(), await person()];
  return { anna: anna.as, ben: ben.as, call: (as) => call(anna, as) };
}

type Operations = ReturnType<(typeof integration)["as"]>;

/** An operation that one has started and another asks for. */
async function ofOperation(call: (operationId: string, as: Operations) => Promise<unknown>): Promise<Attempt> {
  const { anna, otto: ben } = operations;
  const operationId = operations.idOf(await integration.as(anna).startOperation(operations.lookup("a")));
  return { anna, ben, call: (as) => call(operationId, integration.as(as)) };
}

/** An id that one deployed service has registered and another uses. */
async function ofRegistration(
  call: (
    instance: typeof access.debate & { environment: string },
    as: ReturnType<(typeof registry)["as"]>,
  ) => Promise<unknown>,
): Promise<Attempt> {
  made += 1;
  const instance = { ...access.debate, serviceId: `hms.test.debate${made}`, environment: "default" };
  const [anna, ben] = [access.debateSvc, access.workload("other-svc")];
  await registry.as(anna).register(instance);
  return { anna, ben, call: (as) => call(instance, registry.as(as)) };
}

type Steps = ReturnType<automation.AutomationScene["steps"]>;

/** A step that one program has claimed and another speaks for. */
async function ofClaim(
  call: (about: { queue: string; worker: string; claim: automationSteps.StepClaim }, as: Steps) => Promise<unknown>,
): Promise<Attempt> {
  made += 1;
  const place = { queue: `queue${made}`, worker: "w" };
  const anna = automation.etl;
  const ben: Principal = { kind: "service", id: "default/other" };
  const graph = { nodes: { a: { uses: "x", effect: "idempotent", queue: place.queue } } };
  await runs.runs().startRun({ graph });
  const { steps } = await runs.steps(anna).claimSteps(place);
  const about = { ...place, claim: steps[0]?.claim as automationSteps.StepClaim };
  return { anna, ben, call: (as) => call(about, runs.steps(as)) };
}

const attempts: Readonly<Record<string, () => Promise<Attempt>>> = {
  "hms.sys.integration.v1.OperationService/GetOperation": () =>
    ofOperation((operationId, as) => as.getOperation({ operationId })),
  "hms.sys.integration.v1.OperationService/WaitOperation": () =>
    ofOperation((operationId, as) => as.waitOperation({ operationId })),
  "hms.sys.integration.v1.OperationService/CancelOperation": () =>
    ofOperation((operationId, as) => as.cancelOperation({ operationId })),
  "hms.sys.integration.v1.OperationService/ListOperations": async () => ({
    ...(await ofOperation((_, as) => as.listOperations({}))),
    shows: (answer) => (answer as { operations: unknown[] }).operations.length > 0,
  }),
  "hms.automation.v1.StepService/RenewSteps": async () => ({
    ...(await ofClaim(({ claim, ...about }, as) => as.renewSteps({ ...about, claims: [claim] }))),
    shows: (answer) => (answer as automationSteps.RenewStepsResponse).claims[0]?.holds === true,
  }),
  "hms.automation.v1.StepService/CompleteStep": () => ofClaim((about, as) => as.completeStep(about)),
  "hms.automation.v1.StepService/FailStep": () =>
    ofClaim((about, as) => as.failStep({ ...about, error: { code: 3, message: "no" } })),
  "hms.automation.v1.StepService/AppendStepLog": () =>
    ofClaim((about, as) => as.appendStepLog({ ...about, seq: 1, text: "line" })),
  "hms.ffi.v1.RegistryService/Register": () => ofRegistration((instance, as) => as.register(instance)),
  "hms.ffi.v1.RegistryService/Unregister": () => ofRegistration((instance, as) => as.unregister(instance)),
  "hms.ffi.v1.RegistryService/ReportCalls": () =>
    ofRegistration((instance, as) => as.reportCalls({ ...instance, calls: [] })),
  "hms.identity.v1.KeyService/CreateKey": () =>
    ofAccount(({ login }, as) => keysAs(as).createKey({ user: login, name: "second" })),
  "hms.identity.v1.KeyService/ListKeys": () => ofAccount(({ login }, as) => keysAs(as).listKeys({ user: login })),
  "hms.identity.v1.KeyService/RevokeKey": () => ofAccount(({ keyId }, as) => keysAs(as).revokeKey({ keyId })),
  "hms.identity.v1.SessionService/ListSessions": () =>
    ofAccount(({ login }, as) => sessionsAs(as).listSessions({ user: login })),
  "hms.identity.v1.SessionService/RevokeSession": () =>
    ofAccount(({ sessionId }, as) => sessionsAs(as).revokeSession({ sessionId })),
  "hms.identity.v1.SessionService/NarrowSession": () =>
    ofAccount(({ programId }, as) => sessionsAs(as).narrowSession({ sessionId: programId, scopes: ["services:read"] })),
  "hms.identity.v1.SessionService/RevokeAllSessions": () =>
    ofAccount(({ login }, as) => sessionsAs(as).revokeAllSessions({ user: login })),
};

const owned = [...authorizationRows()].filter(([, { cells }]) => cells["others'"] === "owner").map(([name]) => name);

test("every method that the table says is its owner's only is tried here, and no other", () => {
  expect(Object.keys(attempts).sort()).toEqual(owned.sort());
});

describe.each(Object.entries(attempts))("%s", (_, make) => {
  test("does nothing for who does not own it, and the same request is good for who does", async () => {
    const { anna, ben, call, shows } = await make();
    const asBen = await call(ben).then(
      (answer) => ({ answer }),
      (error) => ({ code: HmsError.from(error).code }),
    );
    if (shows) expect("answer" in asBen && shows(asBen.answer)).toBe(false);
    else expect("code" in asBen ? asBen.code : "OK").toMatch(/^(NOT_FOUND|PERMISSION_DENIED)$/);
    // It was right but for who asked; and what it is about is still there.
    const answer = await call(anna);
    if (shows) expect(shows(answer)).toBe(true);
  });
});
