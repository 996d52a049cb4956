import { ffiOptions } from "@hms/contracts";
import type { HmsError, MethodEntry, Policy, Principal } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { authorizationSchema } from "./authorization-schema.ts";
import { cedar } from "./cedar-engine.ts";
import { compileComponents, compileGrants } from "./compile-grants.ts";
import { compileRule } from "./compile-rule.ts";
import {
  type AccessRule,
  allowingChanges,
  builtInRoles,
  cedarProblem,
  createAccessPolicy,
  PolicyBook,
  type PolicyTest,
  parsePolicies,
  type RoleDefinition,
  targetNamed,
} from "./index.ts";

const { UNSPECIFIED, NONE, REQUEST } = ffiOptions.AuditLevel;

const json = (init: Partial<AccessRule>): AccessRule => ({
  id: "r",
  service: "*",
  method: "*",
  allowedRoles: [],
  deniedRoles: [],
  requiresMfa: false,
  auditLevel: UNSPECIFIED,
  environment: "",
  ...init,
});
const written = (id: string, text: string, more: Partial<AccessRule> = {}) => json({ id, cedar: text, ...more });

function bookOf(rules: AccessRule[], options: ConstructorParameters<typeof PolicyBook>[0] = {}): PolicyBook {
  const book = new PolicyBook(options);
  book.replace("file", []);
  book.replace("stored", rules);
  return book;
}

const platform = (permission: string) => ({ rule: { permission } }) as unknown as MethodEntry;
function users(serviceId: string, name: string, environment = "default"): MethodEntry {
  return { environment, desc: { name, parent: {} }, rule: { resource: serviceId } } as unknown as MethodEntry;
}

function deploys(policy: Policy, principal: Principal, resource: string, environment = "default") {
  const method = platform("services:deploy");
  return policy.decide({ principal, permission: "services:deploy", resource, environment, method });
}
const calls = (policy: Policy, principal: Principal, method: MethodEntry) =>
  policy.decide({ principal, permission: "services:call", resource: "", method });

const anna: Principal = { kind: "user", id: "anna", roles: ["developer"] };
const allowed = { allowed: true };
const denied = { allowed: false };

describe("compiled policies", () => {
  test("all fit the schema of the contracts", () => {
    const rules = [
      json({
        id: "a",
        service: "hms.a",
        method: "Get",
        allowedRoles: ["x"],
        deniedRoles: ["y", 'q"\\'],
        requiresMfa: true,
      }),
      json({ id: "b", service: "hms.a", method: "Get*", allowedRoles: ["x", "y"], environment: "prod" }),
      json({ id: "c", service: "hms.*", method: "Get", allowedRoles: ["*"] }),
      json({ id: "d", deniedRoles: ["*"], environment: "prod" }),
      json({ id: "e", service: "hms.a", requiresMfa: true }),
    ];
    const grants = {
      roles: builtInRoles,
      kinds: { user: ["registry:read"] },
      components: { dataplane: ["mesh:read"] },
    };
    const all = [...rules.flatMap(compileRule), ...compileGrants(grants), ...compileComponents(grants)];
    const staticPolicies = Object.fromEntries(all.map(({ id, text }) => [id, text]));
    const answer = cedar().validate({ schema: authorizationSchema(), policies: { staticPolicies } });
    expect(answer).toMatchObject({ type: "success", validationErrors: [] });
  });
});

describe("policies written in Cedar", () => {
  test("decide by owner, environment and name of what is used", () => {
    const owners =
      'permit (principal, action == Action::"services:deploy", resource) when { resource has owner && resource.owner == principal.name };';
    const noProd =
      'forbid (principal, action == Action::"services:deploy", resource in Environment::"prod") unless { principal in Role::"manager" };';
    const book = bookOf([written("owners", owners), written("prod", noProd)]);
    const policy = createAccessPolicy(book, {
      factsOf: (_, name) => ({ owner: name === "own" ? "user:bob" : "user:x" }),
    });
    const bob: Principal = { kind: "user", id: "bob" };
    expect(deploys(policy, bob, "own")).toMatchObject(allowed);
    expect(deploys(policy, bob, "other")).toMatchObject(denied);
    expect(deploys(policy, bob, "own", "prod")).toMatchObject(denied);
    expect(deploys(policy, anna, "other")).toMatchObject(allowed);
    expect(deploys(policy, anna, "other", "prod")).toMatchObject(denied);
    expect(deploys(policy, { ...anna, roles: ["manager"] }, "other", "prod")).toMatchObject(allowed);
  });

  test("know a role however its name is written", () => {
    const head = (who: string) => `permit (${who}, action == Action::"services:deploy", resource)`;
    const spellings = [
      `${head('principal in Role :: "odd one"')};`,
      `${head("principal")} when { [Role::"odd one", Role::"b"].contains(Role::"b") && principal in [Role::"odd one"] };`,
      `${head('principal in Role::"odd\\u{20}one"')};`,
      `// Role::"a" is no role here\n${head('principal in Role::"odd one"')};`,
    ];
    for (const text of spellings) {
      const policy = createAccessPolicy(bookOf([written("odd", text)]));
      expect(deploys(policy, { kind: "user", id: "x", roles: ["odd one", "c"] }, "any"), text).toMatchObject(allowed);
      expect(deploys(policy, { kind: "user", id: "x", roles: ["b", "c"] }, "any"), text).toMatchObject(denied);
    }
  });

  test("allow whole groups, of principals alike in everything else those that are in them", () => {
    const text = 'permit (principal in Group::"sre", action == Action::"services:deploy", resource);';
    const policy = createAccessPolicy(bookOf([written("sre", text)]));
    const carl: Principal = { kind: "user", id: "carl", roles: ["viewer"] };
    for (const [who, answer] of [
      [carl, denied],
      [{ ...carl, groups: ["crew", "sre"] }, allowed],
      [{ ...carl, groups: ["crew"] }, denied],
      [{ ...carl }, denied],
      [{ ...carl, roles: ["sre"] }, denied],
    ] as const) {
      expect(deploys(policy, who, "any")).toMatchObject(answer);
    }
  });

  test("give a principal whose groups have changed no decision of before", () => {
    const texts = ["services:deploy", "services:call"].map(
      (action) => `permit (principal in Group::"sre", action == Action::"${action}", resource);`,
    );
    const policy = createAccessPolicy(bookOf(texts.map((text, n) => written(`sre-${n}`, text))));
    const method = users("hms.emr.patient", "Get");
    const of = (...groups: string[]): Principal =>
      Object.freeze({ kind: "user", id: "carl", roles: ["viewer"], groups });
    const steps = [of("sre"), of(), of("sre", "crew"), of("crew"), of("crew", "sre"), of("s", "re"), of('sre"]')];
    for (const who of [...steps, ...steps]) {
      const answer = who.groups?.includes("sre") ? allowed : denied;
      for (let n = 0; n < 2; n += 1) {
        expect(deploys(policy, who, "any"), String(who.groups)).toMatchObject(answer);
        expect(calls(policy, who, method), String(who.groups)).toMatchObject(answer);
      }
    }
  });

  test("decide calls of users' methods, and who exactly asks is never mistaken for somebody alike", () => {
    const text =
      'permit (principal == User::"anna", action == Action::"services:call", resource in Api::"hms.emr.patient");';
    const policy = createAccessPolicy(bookOf([written("anna", text, { auditLevel: REQUEST })]));
    const method = users("hms.emr.patient", "Get");
    expect(calls(policy, anna, method)).toMatchObject({ allowed: true, auditLevel: REQUEST, policies: ["anna"] });
    expect(calls(policy, { ...anna, id: "bob" }, method)).toMatchObject(denied);
    expect(calls(policy, anna, users("hms.emr.other", "Get"))).toMatchObject(denied);
  });

  test("can demand a second factor of every person for everything, and of nobody else", () => {
    const text = "forbid (principal is User, action, resource) unless { context.mfa };";
    const own = 'permit (principal, action == Action::"services:call", resource);';
    const policy = createAccessPolicy(bookOf([written("two-factors", text), written("all", own)]));
    const method = users("hms.emr.patient", "Get");
    for (const roles of [["developer"], ["admin"], []]) {
      const person = { ...anna, roles };
      const byKey: Principal = { ...person, credential: "key:k", mfa: false };
      for (const who of [person, byKey]) {
        expect(deploys(policy, who, "any")).toMatchObject(denied);
        expect(calls(policy, who, method)).toMatchObject({ ...denied, stepUp: {} });
      }
      const shown = { ...person, mfa: true };
      expect(deploys(policy, shown, "any")).toMatchObject(roles.length === 0 ? denied : allowed);
      expect(calls(policy, shown, method)).toMatchObject(allowed);
    }
    const service: Principal = { kind: "service", id: "default/payment-svc", environment: "default" };
    expect(calls(policy, service, method)).toMatchObject(allowed);
  });

  test("that cannot be evaluated deny what they may be about, and are reported", () => {
    const text = 'forbid (principal, action == Action::"services:deploy", resource) when { resource.owner == "x" };';
    const heard: string[] = [];
    const policy = createAccessPolicy(bookOf([written("bad", text)]), { onError: (errors) => heard.push(...errors) });
    expect(deploys(policy, anna, "any")).toMatchObject({
      allowed: false,
      reason: expect.stringContaining("evaluated"),
    });
    expect(heard).toEqual([expect.stringMatching(/^bad: /)]);
  });

  test("never bind the operator or a part of the platform", () => {
    const book = bookOf([written("all", "forbid (principal, action, resource);")], {
      components: { server: ["services:deploy"] },
    });
    const policy = createAccessPolicy(book);
    expect(deploys(policy, { kind: "operator", id: "operator" }, "any")).toMatchObject(allowed);
    expect(deploys(policy, { kind: "component", id: "server" }, "any")).toMatchObject(allowed);
    expect(deploys(policy, { kind: "component", id: "other" }, "any")).toMatchObject(denied);
    expect(deploys(policy, anna, "any")).toMatchObject(denied);
  });

  test("are refused where they do not fit the contracts, with Cedar's words", () => {
    expect(cedarProblem("permit (principal, action, resource")).toMatch(/^is no Cedar: /);
    const when = (condition: string) => `permit (principal, action, resource) when { ${condition} };`;
    expect(cedarProblem(when(`${"(".repeat(300)}context.mfa${")".repeat(300)}`))).toMatch(/nested 301 deep/);
    expect(cedarProblem(when(Array(500).fill("context.mfa").join(" || ")))).toMatch(/has 499 operators/);
    expect(cedarProblem(when(`context.transport == "${"x".repeat(20_000)}"`))).toMatch(/characters/);
    expect(cedarProblem(when('principal in Group::"sre"'))).toBeUndefined();
    expect(cedarProblem('permit (principal, action == Action::"services:deplo", resource);')).toMatch(/^does not fit/);
    expect(
      cedarProblem('permit (principal, action == Action::"services:read", resource) when { resource.owner == "x" };'),
    ).toMatch(/owner/);
    expect(cedarProblem("permit (principal, action, resource); forbid (principal, action, resource);")).toMatch(
      /exactly one/,
    );
    expect(cedarProblem('@audit_level("ful") permit (principal, action, resource);')).toMatch(/@audit_level/);
    expect(cedarProblem("permit (principal == ?principal, action, resource);")).toMatch(/exactly one/);
    expect(cedarProblem('permit (principal in Role::"x", action, resource);')).toBeUndefined();
  });

  test("are read from the policy file, with what they are for and what has to stay true", () => {
    const text = JSON.stringify({
      id: "prod",
      description: "Only managers change production.",
      cedar:
        'forbid (principal, action in Action::"services:*", resource in Environment::"prod") unless { principal in Role::"manager" };',
      tests: [
        { principal: "user:bob", roles: ["operator"], action: "services:deploy", environment: "prod", expect: "deny" },
      ],
    });
    const [rule] = parsePolicies(text, "p.json");
    expect(rule).toMatchObject({ id: "prod", service: "*", description: expect.stringContaining("managers") });
    const both =
      '{"id": "x", "cedar": "permit (principal, action, resource);", "allowed_roles": ["a"], "tests": [{"expect": "yes"}]}';
    const failure = (() => {
      try {
        return parsePolicies(both, "p.json");
      } catch (error) {
        return error as HmsError;
      }
    })() as HmsError;
    expect(failure.details.fieldViolations?.map(({ field }) => field).sort()).toEqual([
      "",
      "tests[0].action",
      "tests[0].expect",
      "tests[0].principal",
    ]);
  });
});

describe("a whole service without a contract", () => {
  const judge = (rules: AccessRule[], roles: string[]) =>
    bookOf(rules).current.judgeService(
      { roles, mfa: false, known: true },
      { environment: "default", serviceId: "hms.a" },
    ).allowed;

  test("is open by a policy in Cedar only if that is about all methods, and closed by any that may be about one", () => {
    const whole = 'permit (principal in Role::"x", action == Action::"services:call", resource in Api::"hms.a");';
    const one = 'permit (principal in Role::"x", action == Action::"services:call", resource == Method::"hms.a/Get");';
    const not = 'forbid (principal, action == Action::"services:call", resource == Method::"hms.a/Put");';
    expect(judge([written("one", one)], ["x"])).toBe(false);
    expect(judge([json({ id: "j", service: "hms.a", allowedRoles: ["x"] })], ["x"])).toBe(true);
    expect(judge([json({ id: "j", service: "hms.a", allowedRoles: ["x"] }), written("not", not)], ["x"])).toBe(false);
    expect(judge([written("whole", whole)], ["y"])).toBe(false);
    expect(judge([written("whole", whole)], ["x"])).toBe(true);
  });
});

describe("expectations", () => {
  const expectation = (init: Partial<PolicyTest>): PolicyTest => ({
    principal: "user:bob",
    roles: [],
    mfa: false,
    action: "services:deploy",
    resource: "payment-svc",
    environment: "",
    owner: "",
    expectAllowed: false,
    ...init,
  });

  test("that a change would break refuse it, all of them at once", () => {
    const tests = [expectation({ roles: ["operator"], expectAllowed: true }), expectation({ roles: ["viewer"] })];
    const kept = json({ id: "kept", service: "hms.a", allowedRoles: ["a"], tests });
    const book = bookOf([kept]);
    book.check("stored", [kept]);
    const widening = written("w", 'permit (principal in Role::"viewer", action, resource);');
    const narrowing = written("n", 'forbid (principal in Role::"operator", action, resource);');
    const check = () => book.check("stored", [kept, widening, narrowing]);
    expect(check).toThrow(
      expect.objectContaining({
        code: "FAILED_PRECONDITION",
        details: expect.objectContaining({
          reason: "POLICY_TESTS_FAILED",
          fieldViolations: [
            { field: "kept.tests[0]", description: expect.stringContaining("Denied: n forbids it") },
            { field: "kept.tests[1]", description: expect.stringContaining("Allowed by w.") },
          ],
        }),
      }),
    );
  });
});

test("a kind of principals and a part of the platform may do what they were granted, and no more", () => {
  const book = bookOf([], { kinds: { service: ["registry:read"] }, components: { server: ["mesh:read"] } });
  const policy = createAccessPolicy(book);
  const may = (kind: Principal["kind"], id: string, permission: string) => {
    const question = { principal: { kind, id }, permission, resource: "", method: platform(permission) };
    return (policy.decide(question) as { allowed: boolean }).allowed;
  };
  expect(may("service", "default/x", "registry:read")).toBe(true);
  expect(may("service", "default/x", "services:deploy")).toBe(false);
  expect(may("service", "server", "mesh:read")).toBe(false);
  expect(may("user", "anna", "registry:read")).toBe(false);
  expect(may("component", "server", "mesh:read")).toBe(true);
  expect(may("component", "service", "registry:read")).toBe(false);
  expect(may("anonymous", "anonymous", "registry:read")).toBe(false);
});

describe("roles", () => {
  test("stand for permissions, and a change of a role holds with the next call", () => {
    let changed = () => {};
    let roles: readonly RoleDefinition[] = [{ name: "developer", permissions: ["services:*"] }];
    const lost: (readonly string[])[] = [];
    const roleBook = {
      get roles() {
        return roles;
      },
      follow(listener: () => void) {
        changed = listener;
      },
    };
    const policy = createAccessPolicy(
      bookOf([], { roles: roleBook, onRolesTakenAway: (services) => lost.push(services) }),
    );
    const method = users("hms.a", "Get");
    expect(deploys(policy, anna, "any")).toMatchObject(allowed);
    expect(calls(policy, anna, method)).toMatchObject(allowed);
    roles = [{ name: "developer", permissions: ["services:read"] }];
    changed();
    expect(deploys(policy, anna, "any")).toMatchObject(denied);
    expect(calls(policy, anna, method)).toMatchObject(denied);
    expect(lost).toEqual([["*"]]);
  });

  test("are told as what would have to change, each tried by deciding again", () => {
    const book = bookOf([
      json({ id: "m", service: "hms.a", requiresMfa: true }),
      json({ id: "d", service: "hms.a", allowedRoles: ["doctor"], deniedRoles: ["visitor"] }),
    ]);
    const changes = (action: string, resource: string, roles: string[], mfa = true) =>
      allowingChanges(book, book.current, {
        subject: { kind: "user", id: "bob", roles, mfa, known: true },
        target: targetNamed({ principal: "", roles, mfa, action, resource, environment: "default", owner: "" }),
      });
    expect(changes("services:call", "hms.a/Get", [])).toEqual(["with the role admin", "with the role doctor"]);
    expect(changes("services:call", "hms.a/Get", ["doctor", "visitor"])).toEqual(["without the role visitor"]);
    expect(changes("services:call", "hms.a/Get", ["doctor"], false)).toEqual(["with a second factor"]);
    expect(changes("services:run", "x", ["viewer"])).toEqual(["with the role admin", "with the role operator"]);
  });
});

test("what a policy in Cedar decides leaves in the audit log what it says, beside its text or in it", () => {
  const text = 'permit (principal, action == Action::"services:call", resource);';
  const levelOf = (rule: AccessRule) => calls(createAccessPolicy(bookOf([rule])), anna, users("hms.a", "Get"));
  expect(levelOf(written("w", text, { auditLevel: NONE }))).toMatchObject({
    allowed: true,
    auditLevel: NONE,
    policies: ["w"],
  });
  expect(levelOf(written("w", `@audit_level("full") ${text}`))).toMatchObject({
    allowed: true,
    auditLevel: REQUEST,
    policies: ["w"],
  });
});
