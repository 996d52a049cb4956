import { randomBytes } from "node:crypto";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  type AccessRule,
  type AccessSubject,
  type AccessTarget,
  CALL_PERMISSION,
  cedarProblem,
  emptyRuleProblem,
  type PolicyTest,
  type ResourceTarget,
  ruleChecks,
  subjectNamed,
  subjectOf,
  targetNamed,
} from "@hms/authorization";
import { ffiOptions, type policy } from "@hms/contracts";
import type { FieldViolation, Principal } from "@hms/kernel";
import { invalid } from "../errors.ts";
import { environmentOf } from "../service-key.ts";

/** The principal of a name as the installation knows it now ("user:anna"); undefined: it knows none. */
export type KnownPrincipals = (name: string) => Principal | undefined | Promise<Principal | undefined>;

const NO_PRINCIPAL = 'is no principal; write kind and name, "user:anna" or "service:default/payment-svc"';
const LEVELS: readonly number[] = Object.values(ffiOptions.AuditLevel);

function problems(checks: readonly (readonly [field: string, problem: string | undefined])[]): FieldViolation[] {
  return checks.flatMap(([field, problem]) => (problem === undefined ? [] : [{ field, description: `${problem}.` }]));
}

function readTests(tests: readonly policy.PolicyTest[]): PolicyTest[] {
  return tests.map(({ principal, roles, mfa, action, resource, environment, owner, expectAllowed }) => {
    return { principal, roles, mfa, action, resource, environment, owner, expectAllowed };
  });
}

/** The policy as it is asked for; what it leaves out as the contract says. */
function ruleOf(asked: policy.AccessPolicy, author: string): AccessRule {
  const isCedar = asked.cedar !== "";
  return {
    id: asked.policyId || `p-${randomBytes(5).toString("hex")}`,
    service: asked.service || (isCedar ? "*" : ""),
    method: asked.method || "*",
    environment: asked.environment,
    allowedRoles: [...new Set(asked.allowedRoles)],
    deniedRoles: [...new Set(asked.deniedRoles)],
    requiresMfa: asked.requiresMfa || asked.mfaMaxAge !== undefined,
    ...(asked.mfaMaxAge === undefined ? {} : { mfaMaxAgeS: durationMs(asked.mfaMaxAge) / 1000 }),
    auditLevel: asked.auditLevel,
    description: asked.description,
    author,
    tests: readTests(asked.tests),
    ...(isCedar ? { cedar: asked.cedar } : {}),
  };
}

function testProblems(test: PolicyTest, index: number) {
  const field = `policy.tests[${index}]`;
  return [
    [`${field}.principal`, subjectNamed(test.principal, [], false) === undefined ? NO_PRINCIPAL : undefined],
    [`${field}.action`, ruleChecks.action(test.action)],
    [`${field}.environment`, ruleChecks.environment(test.environment)],
  ] as const;
}

/**
 * Reads a policy, with its defaults; one without an id gets a new one.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export function readPolicy(asked: policy.AccessPolicy | undefined, author: string): AccessRule {
  if (asked === undefined) throw invalid("The request", [{ field: "policy", description: "is missing." }]);
  const rule = ruleOf(asked, author);
  const ofRoles = (field: string, roles: readonly string[]) =>
    roles.map((role, index) => [`policy.${field}[${index}]`, ruleChecks.role(role)] as const);
  const violations = problems([
    ["policy.policy_id", ruleChecks.id(rule.id)],
    ["policy.service", ruleChecks.service(rule.service)],
    ["policy.method", ruleChecks.method(rule.method)],
    ["policy.environment", ruleChecks.environment(rule.environment)],
    ["policy.mfa_max_age", asked.mfaMaxAge && ruleChecks.mfaMaxAgeMs(durationMs(asked.mfaMaxAge))],
    ...ofRoles("allowed_roles", rule.allowedRoles),
    ...ofRoles("denied_roles", rule.deniedRoles),
    ["policy.audit_level", LEVELS.includes(rule.auditLevel) ? undefined : "is no level; use NONE to REQUEST"],
    ["policy.cedar", rule.cedar === undefined ? undefined : cedarProblem(rule.cedar)],
    ...(rule.tests ?? []).flatMap(testProblems),
    ["policy", emptyRuleProblem(rule)],
  ]);
  if (violations.length > 0) throw invalid("The policy", violations);
  return rule;
}

/** What somebody wants explained. */
export interface AccessQuestion {
  subject: AccessSubject;
  target: AccessTarget | ResourceTarget;
}

type FieldCheck = readonly [field: string, problem: string | undefined];

/** A method may be asked for by service and method, or as the resource of services:call. */
function methodChecks({ serviceId, method }: AccessTarget, isResource: boolean): FieldCheck[] {
  const one = (text: string, problem: string | undefined, thing: string) =>
    problem ?? (text.includes("*") ? `names one ${thing}, without *` : undefined);
  const ofService = one(serviceId, ruleChecks.service(serviceId), "service");
  const ofMethod = one(method, ruleChecks.method(method), "method");
  if (!isResource)
    return [
      ["service_id", ofService],
      ["method", ofMethod],
    ];
  const advice = 'names no method; write "hms.emr.patient/GetPatient"';
  return [["resource", (ofService ?? ofMethod) === undefined ? undefined : advice]];
}

/** Each of them is tried by deciding without it. */
const MOST_ROLES = 100;

/**
 * Reads a question about a call.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export async function readQuestion(
  request: policy.ExplainAccessRequest,
  known: KnownPrincipals,
): Promise<AccessQuestion> {
  const { principal, serviceId, method, owner } = request;
  const environment = environmentOf(request);
  const isResource = request.action !== "";
  const action = request.action || CALL_PERMISSION;
  const resource = isResource ? request.resource : `${serviceId}/${method}`;
  const same = await known(principal);
  const roles = [...new Set([...(same?.roles ?? []), ...request.roles])];
  const mfa = request.mfa || same?.mfa === true;
  // Who asks what a second factor would do means one that is shown now; otherwise how old it is stays as it is known.
  const factor = request.mfa ? { mfa, mfaAgeS: 0 } : { mfa };
  const subject = same ? { ...subjectOf(same), roles, ...factor } : subjectNamed(principal, roles, mfa);
  const target = targetNamed({ principal, roles, mfa, action, resource, environment, owner });
  const violations = problems([
    ["principal", subject === undefined ? NO_PRINCIPAL : undefined],
    ...("permission" in target ? [] : methodChecks(target, isResource)),
    ["action", ruleChecks.action(action)],
    ["environment", ruleChecks.environment(environment)],
    ["roles", roles.length > MOST_ROLES ? `are ${roles.length}; at most ${MOST_ROLES} can be asked about` : undefined],
  ]);
  if (subject === undefined || violations.length > 0) throw invalid("The question", violations);
  return { subject, target };
}
