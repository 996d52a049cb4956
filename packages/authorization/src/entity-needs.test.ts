import { describe, expect, test } from "vitest";
import { ParsedPolicies } from "./cedar-engine.ts";
import { compileGrants } from "./compile-grants.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";
import { type AccessRequest, engineQuestion, methodEntity, resourceEntity } from "./entities.ts";
import { entityNeeds } from "./entity-needs.ts";
import { builtInRoles } from "./index.ts";
import { RandomPolicies, READ, ROWS } from "./testing/random-policies.ts";

const policy = (text: string) => ({ id: text, text }) as CompiledPolicy;
const needsOf = (...texts: string[]) => entityNeeds(texts.map(policy));

/** What a policy of every way to look at things says of them. */
const LOOKS = [
  'permit (principal in Role::"a", action in [Action::"services:*"], resource);',
  'permit (principal, action, resource) when { principal in [Role::"b", Group::"g"] };',
  'permit (principal, action, resource) when { resource["owner"] == "user:anna" };',
  'permit (principal, action, resource) when { resource has "owner" };',
  'permit (principal, action, resource) when { (if context.mfa then resource else resource).name == "a" };',
  'permit (principal, action, resource) when { [resource, principal].contains(Resource::"services/dev/a") };',
  'permit (principal, action, resource) when { Resource::"services/dev/a".name == "a" };',
  'permit (principal, action, resource) when { Resource::"services/dev/a" in Environment::"dev" };',
  'permit (principal, action, resource) when { User::"anna" in Role::"a" };',
  'permit (principal, action, resource) when { {who: principal}.who in Role::"a" };',
  'permit (principal, action, resource) when { resource in resource && action in Action::"services:*" };',
  'permit (principal, action, resource) when { resource is Resource in Environment::"dev" };',
  'permit (principal, action, resource) when { resource // whose\n .owner == "user:anna" };',
  'permit (principal, action, resource) when { resource . tags.contains("public") };',
  'permit (principal, action, resource) when { resource.tags == ["public"] || principal.name == "user:bob" };',
  "forbid (principal, action, resource) unless { principal has name && resource has environment };",
  'permit (principal, action, resource) when { principal == User::"anna" && resource != Resource::"services/dev/a" };',
  'permit (principal, action, resource) when { "resource" == "principal" || resource in Group::"pay" };',
  'permit (principal is User, action, resource) when { !(principal in Group::"g") };',
  "permit (principal, action, resource) when { principal in principal && resource == resource };",
  'permit (principal, action, resource) when { resource.kind == "services" && resource.na\u006de like "a*" };',
  'permit (principal, action, resource) when { context.mfa && context.environment == "dev" };',
  "permit (principal, action, resource) when { context has mfa_age && context.mfa_age < 10 };",
  'permit (principal, action, resource) when { context["transport"] == "socket" };',
  'permit (principal, action, resource) when { context has "environment" };',
  'permit (principal, action, resource) when { {how: context}.how.transport == "socket" };',
  'permit (principal, action, resource) when { (if principal in Role::"a" then context else context).mfa };',
  'permit (principal, action, resource) when { context == {mfa: false, transport: "socket", environment: "dev"} };',
  'permit (principal, action, resource) when { context . environment == "dev" || principal.environment == "dev" };',
  'permit (principal, action, resource) when { context.nothing == "x" };',
  'permit (principal, action, resource) when { resource.name == "context" && !(context has nothing) };',
  'permit (principal, action, resource) when { "services/dev/a" == "x" || resource.owner == "user:anna" };',
];

/** How some policies answer a question, told everything and told what they need. */
function answersOf(policies: readonly CompiledPolicy[]) {
  const parsed = new ParsedPolicies(Object.fromEntries(policies.map(({ text }, index) => [String(index), text])));
  const needs = entityNeeds(policies);
  return (request: AccessRequest) =>
    [undefined, needs].map((told) => {
      const { allowed, reasons, errors } = parsed.ask(engineQuestion(request, told));
      return { allowed, reasons: [...reasons].sort(), errors: errors.map(({ id }) => id).sort() };
    });
}

const subjects = ["anna", "bob"].flatMap((id) =>
  [[], ["a"], ["b", "c"]].flatMap((roles) =>
    [[], ["g"]].map((groups) => {
      const age = groups.length === 0 ? {} : { mfaAgeS: id === "anna" ? 5 : 50 };
      return { kind: "user" as const, id, roles, groups, mfa: roles.length === 1, known: true, ...age };
    }),
  ),
);

function requestsAbout(permission: string): AccessRequest[] {
  const things = ROWS.filter((_, index) => index % 4 !== 3);
  return subjects.flatMap((subject) =>
    things.map(({ name, environment, facts }) => {
      const resource = resourceEntity({ kind: "services", name, environment }, facts as never);
      return { subject, permission, resource, environment, transport: "socket" };
    }),
  );
}

const requests = requestsAbout(READ).filter((_, index) => index % 8 === 0);

describe("a question without what no policy looks at", () => {
  test.each(LOOKS)("gets the same answer from %s", (text) => {
    const answers = answersOf([policy(text)]);
    for (const request of requests) {
      const [whole, short] = answers(request);
      expect(short).toEqual(whole);
    }
  });

  test("gets the same answer from random policies beside those of roles", () => {
    const random = new RandomPolicies(23);
    const grants = compileGrants({ roles: builtInRoles, kinds: { user: ["services:read"] }, components: {} });
    for (let round = 0; round < 15; round++) {
      const rules = random.book().current.rules.map(({ cedar = "" }) => policy(cedar));
      const answers = answersOf([...grants, ...rules]);
      for (const request of requests.filter((_, index) => index % 5 === round % 5)) {
        const [whole, short] = answers(request);
        expect(short).toEqual(whole);
      }
    }
  });
});

test("most questions are short: nothing is told of a method, nor of who has none of the roles", () => {
  const texts = [
    'permit (principal in Role::"doctor", action == Action::"services:call", resource == Method::"hms.a/Get");',
  ];
  const needs = entityNeeds([...compileGrants({ roles: [], kinds: {}, components: {} }), ...texts.map(policy)]);
  const subject = { kind: "user", id: "anna", roles: [], mfa: false, known: true } as const;
  const resource = methodEntity("hms.a", "Get");
  const request = {
    subject,
    permission: "services:call",
    resource,
    environment: "default",
    transport: "ticket",
  } as const;
  expect(engineQuestion(request, needs)).toMatchObject({ entities: [], context: {} });
  const doctor = engineQuestion({ ...request, subject: { ...subject, roles: ["doctor"] } }, needs);
  expect(doctor.entities).toMatchObject([{ uid: { type: "User", id: "anna" }, attrs: {} }]);
});

test("policies of who lives in an environment say nothing of others, so these are asked about without them", () => {
  const grants = compileGrants({ roles: builtInRoles, kinds: { user: ["services:read"] }, components: {} });
  const ofEnvironments = grants.filter(({ ofEnvironments: is }) => is);
  expect(ofEnvironments.map(({ id }) => id)).toEqual(["built-in:other-environment"]);
  const everybody = policy("permit (principal, action, resource);");
  const answers = answersOf([everybody, ...ofEnvironments]);
  for (const request of [...requests, ...requestsAbout("services:call")]) {
    expect(answers(request)).toMatchObject([
      { allowed: true, reasons: ["0"] },
      { allowed: true, reasons: ["0"] },
    ]);
  }
  const [request] = requests as [AccessRequest];
  const elsewhere = { ...request, subject: { ...request.subject, environment: "elsewhere" } };
  expect(answers(elsewhere)).toMatchObject([{ allowed: false }, { allowed: false }]);
});

test("what may look at anything is not guessed at", () => {
  expect(needsOf('permit (principal, action, resource) when { resource.n\\u{61}me == "a" };')).toBeUndefined();
  expect(needsOf("permit (principal, action, resource) when { [resource].containsAny([principal]) };")).toBeUndefined();
  expect(needsOf("permit (principal, action, resource) when { resource has owner.name };")).toBeUndefined();
  expect(needsOf('permit (principal, action, resource) when { context["mfa"] };')).toBeUndefined();
  expect(needsOf("permit (principal, action, resource) when { [context].contains(context) };")).toBeUndefined();
});
