import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { followPolicies, PolicyBook } from "@hms/authorization";
import { type policy, registry } from "@hms/contracts";
import { openServiceDatabase } from "@hms/postgres";
import { machineSlowness, openDeafSource, waitFor } from "@hms/testkit";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { type RegistryTables, registryMigrations } from "../index.ts";
import {
  accessHost,
  clearScene,
  openDatabase,
  openRegistry,
  openRegistryHere,
  operator,
  refused,
  scene,
} from "../testing/access-scene.ts";

afterEach(clearScene);
afterAll(() => accessHost[Symbol.asyncDispose]());

describe("the policies' service", () => {
  test("lists, replaces and removes what it stored, and says what is wrong with a policy all at once", async () => {
    const { policies } = await openRegistry();
    const { policy: first } = await policies.putPolicy({ policy: { service: "hms.emr.*", allowedRoles: ["nurse"] } });
    expect(first).toMatchObject({ policyId: expect.stringMatching(/^p-/), method: "*", fromFile: false });
    expect(first?.changedAt).toBeDefined();
    await policies.putPolicy({ policy: { ...(first as policy.AccessPolicy), requiresMfa: true } });
    await policies.putPolicy({ policy: { policyId: "x", service: "hms.cdf.debate", deniedRoles: ["*"] } });
    const { policies: listed } = await policies.listPolicies({});
    expect(listed).toMatchObject([{ policyId: "x" }, { policyId: first?.policyId, requiresMfa: true }]);
    const aged = { policyId: "x", service: "hms.cdf.debate", mfaMaxAge: durationFromMs(900_000) };
    expect((await policies.putPolicy({ policy: aged })).policy).toMatchObject({ ...aged, requiresMfa: true });
    const { policies: again } = await policies.listPolicies({});
    expect(again[0]).toMatchObject({ ...aged, requiresMfa: true });
    const tooLong = policies.putPolicy({ policy: { ...aged, mfaMaxAge: durationFromMs(900_500) } });
    await expect(tooLong).rejects.toThrow(/policy.mfa_max_age.*whole seconds|no age of a second factor/);
    await policies.deletePolicy({ policyId: "x" });
    await expect(policies.deletePolicy({ policyId: "x" })).rejects.toMatchObject(refused("NOT_FOUND"));
    await expect(policies.deletePolicy({ policyId: "file:hms.emr/*" })).rejects.toMatchObject(
      refused("FAILED_PRECONDITION"),
    );
    const bad = { service: "Hms", method: "Get Patient", allowedRoles: ["a b"], environment: "Prod" };
    await expect(policies.putPolicy({ policy: bad })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: {
        fieldViolations: [
          { field: "policy.service" },
          { field: "policy.method" },
          { field: "policy.environment" },
          { field: "policy.allowed_roles[0]" },
        ],
      },
    });
  });

  test("means people by their login when it is saved, and refuses who is nobody", async () => {
    const people: Record<string, string> = { "user:anna": "0192-anna", "user:0192-anna": "0192-anna" };
    const known = (name: string) => (people[name] ? ({ kind: "user", id: people[name] } as const) : undefined);
    // Who is known is a function of the process that the registry runs in.
    const { policies } = await openRegistryHere(undefined, [], { known });
    const head = 'action == Action::"services:deploy", resource)';
    const ofAnna = `// User::"nobody" is no more than a remark
permit (principal == User::"anna", ${head} when { resource.name != "User::\\"anna\\"" };`;
    const tests = [
      { principal: "user:anna", action: "services:deploy", resource: "x", environment: "default", expectAllowed: true },
      { principal: "user:bob", action: "services:deploy", resource: "x", environment: "default", expectAllowed: false },
    ];
    const saved = await policies.putPolicy({ policy: { policyId: "a", cedar: ofAnna, tests } });
    expect(saved.policy?.cedar).toBe(ofAnna.replace('== User::"anna"', '== User::"0192-anna"'));
    const again = await policies.putPolicy({ policy: saved.policy as policy.AccessPolicy });
    expect(again.policy?.cedar).toBe(saved.policy?.cedar);
    const ofNobody = `permit (principal == User::"ann", ${head};`;
    await expect(policies.putPolicy({ policy: { policyId: "b", cedar: ofNobody } })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining('User::"ann", and nobody'),
    });
  });

  test("explains a decision by the policies that make it", async () => {
    const { policies } = await openRegistry();
    await policies.putPolicy({
      policy: { policyId: "nurses", service: "hms.emr.*", method: "Get*", allowedRoles: ["nurse"] },
    });
    const ask = { principal: "user:anna", serviceId: "hms.emr.patient", method: "GetPatient" };
    expect(await policies.explainAccess({ ...ask, roles: ["nurse"] })).toMatchObject({
      allowed: true,
      policyIds: ["nurses"],
    });
    expect(await policies.explainAccess(ask)).toMatchObject({
      allowed: false,
      reason: expect.stringContaining("needs one of the roles nurse (nurses)"),
    });
    expect(await policies.explainAccess({ ...ask, principal: "operator:operator" })).toMatchObject({ allowed: true });
    await expect(policies.explainAccess({ ...ask, principal: "anna", method: "Get*" })).rejects.toMatchObject({
      details: { fieldViolations: [{ field: "principal" }, { field: "method" }] },
    });
  });

  test("are in force in another registry of the database within 5 s, also if it does not hear of a change", async () => {
    const own = await openDatabase();
    const deaf = scene.stack.use(await openDeafSource(own.source));
    const options = { service: "registry", migrations: registryMigrations, source: deaf.source };
    const database = scene.stack.use(await openServiceDatabase<RegistryTables>(options));
    // Its book, and what its connection hears, are looked into.
    const [one, other] = [await openRegistry(own), await openRegistryHere({ ...own, database })];
    const put = (policyId: string) =>
      one.policies.putPolicy({ policy: { policyId, service: "hms.cdf.debate", deniedRoles: ["*"] } });
    const isListening = async () => {
      await put("before");
      return deaf.lost > 0;
    };
    await waitFor(isListening, { describe: "the other registry to listen, in vain" });
    const [began, lost] = [performance.now(), deaf.lost];
    await put("x");
    const inForce = () => other.book.rulesOf("stored").some(({ id }) => id === "x");
    await waitFor(inForce, { deadlineMs: 20_000, describe: "the policy to be in force elsewhere" });
    expect(performance.now() - began).toBeLessThan(5_000 + 500 * (await machineSlowness()));
    // It may have been found by looking before word of it came.
    await waitFor(() => deaf.lost > lost, { describe: "the notification to get lost" });
  });

  test("tells other processes every stored policy, now and after each change", async () => {
    const { policies } = await openRegistry();
    await policies.putPolicy({ policy: { policyId: "x", service: "hms.cdf.debate", deniedRoles: ["*"] } });
    const book = new PolicyBook();
    book.replace("file", []);
    scene.stack.use(followPolicies({ policies, book, onFailure: () => {} }));
    const holds = (...ids: string[]) =>
      waitFor(() => String(book.rulesOf("stored").map(({ id }) => id)) === String(ids), {
        describe: `the policies ${ids} to be in force elsewhere`,
      });
    await holds("x");
    expect(book.rulesOf("stored")).toMatchObject([{ service: "hms.cdf.debate", method: "*", deniedRoles: ["*"] }]);
    await policies.putPolicy({ policy: { policyId: "y", service: "hms.emr.*", allowedRoles: ["nurse"] } });
    await holds("x", "y");
    await policies.deletePolicy({ policyId: "x" });
    await holds("y");
  });

  test("puts in force, and revokes by, what another registry on its database has changed", async () => {
    const own = await openDatabase();
    const one = await openRegistry(own);
    // Its book is looked into.
    const other = await openRegistryHere(own);
    const holds = (count: number) =>
      waitFor(() => other.book.rulesOf("stored").length === count, { describe: `${count} policies in the other one` });
    await one.policies.putPolicy({ policy: { policyId: "x", service: "hms.emr.*", allowedRoles: ["nurse"] } });
    await holds(1);
    const watch = other.as(operator).watch({ pattern: "hms.emr.patient" })[Symbol.asyncIterator]();
    await watch.next();
    await one.policies.deletePolicy({ policyId: "x" });
    await holds(0);
    expect((await watch.next()).value).toMatchObject({ kind: registry.WatchEventKind.REVOKED });
    await watch.return?.();
  });

  test("answers no question about more roles than anybody has", async () => {
    const { policies } = await openRegistry();
    const roles = Array.from({ length: 101 }, (_, n) => `r${n}`);
    const ask = { principal: "user:anna", roles, action: "services:deploy", resource: "x" };
    await expect(policies.explainAccess(ask)).rejects.toMatchObject({
      details: { fieldViolations: [{ field: "roles" }] },
    });
  });

  test("keeps policies written in Cedar with their author, and refuses what does not fit the contracts", async () => {
    // Its book is looked into.
    const { policies, book } = await openRegistryHere();
    const cedar =
      'permit (principal in Role::"nurse", action == Action::"services:call", resource in Api::"hms.emr.patient");';
    const put = { policyId: "nurses", cedar, description: "Nurses read patients." };
    const { policy: kept } = await policies.putPolicy({ policy: put });
    expect(kept).toMatchObject({ ...put, service: "*", author: "operator:operator" });
    const ask = { principal: "user:anna", roles: ["nurse"], action: "services:call", resource: "hms.emr.patient/Get" };
    expect(await policies.explainAccess(ask)).toMatchObject({
      allowed: true,
      policies: [{ policyId: "nurses", cedar, forbids: false, author: "operator:operator" }],
    });
    expect(book.rulesOf("stored")).toMatchObject([{ id: "nurses", cedar }]);
    const wrong = { cedar: cedar.replace("services:call", "services:cal"), allowedRoles: ["x"] };
    await expect(policies.putPolicy({ policy: wrong })).rejects.toMatchObject({
      details: { fieldViolations: [{ field: "policy.cedar" }, { field: "policy" }] },
    });
  });

  test("changes nothing that would break an expectation of another policy, and lists each of them", async () => {
    const { policies } = await openRegistry();
    const expectation = { principal: "user:anna", action: "services:call", resource: "hms.emr.patient/Get" };
    const tests = [
      { ...expectation, roles: ["nurse"], expectAllowed: true },
      { ...expectation, roles: ["visitor"], expectAllowed: false },
    ];
    await policies.putPolicy({
      policy: { policyId: "nurses", service: "hms.emr.*", allowedRoles: ["nurse"], tests },
    });
    const wide = { policyId: "wide", service: "*", allowedRoles: ["visitor"], deniedRoles: ["nurse"] };
    await expect(policies.putPolicy({ policy: wide })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      details: {
        reason: "POLICY_TESTS_FAILED",
        fieldViolations: [{ field: "nurses.tests[0]" }, { field: "nurses.tests[1]" }],
      },
    });
    expect((await policies.listPolicies({})).policies).toMatchObject([{ policyId: "nurses", tests }]);
    await policies.deletePolicy({ policyId: "nurses" });
    await policies.putPolicy({ policy: wide });
  });

  test("says of things of the platform too who may, and what would have to change", async () => {
    const { policies } = await openRegistry();
    const ask = { principal: "user:bob", action: "services:deploy", resource: "payment-svc" };
    expect(await policies.explainAccess({ ...ask, roles: ["viewer"] })).toMatchObject({
      allowed: false,
      reason: expect.stringContaining("services:deploy on services/default/payment-svc needs one of the roles"),
      changes: ["admin", "developer", "manager", "operator"].map((role) => `with the role ${role}`),
    });
    expect(await policies.explainAccess({ ...ask, roles: ["operator"] })).toMatchObject({
      allowed: true,
      policyIds: ["role:operator"],
    });
  });
});
