import { randomBytes } from "node:crypto";
import { ffiOptions, type policy } from "@hms/contracts";
import type { FieldViolation } from "@hms/kernel";
import { type AccessRule, type AccessSubject, type AccessTarget, emptyRuleProblem, ruleChecks } from "@hms/authorization";
import { invalid } from "../errors.ts";
import { environmentOf } from "../service-key.ts";

const LEVELS: readonly number[] = Object.values(ffiOptions.AuditLevel);

function problems(checks: readonly (readonly [field: string, problem: string | undefined])[]): FieldViolation[] {
  return checks.flatMap(([field, problem]) => (problem === undefined ? [] : [{ field, description: `${problem}.` }]));
}

/**
 * Reads a policy, with its defaults; one without an id gets a new one.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export function readPolicy(asked: policy.AccessPolicy | undefined): AccessRule {
  if (asked === undefined) throw invalid("The request", [{ field: "policy", description: "is missing." }]);
  const rule: AccessRule = {
    id: asked.policyId || `p-${randomBytes(5).toString("hex")}`,
    service: asked.service,
    method: asked.method || "*",
    environment: asked.environment,
    allowedRoles: [...new Set(asked.allowedRoles)],
    deniedRoles: [...new Set(asked.deniedRoles)],
    requiresMfa: asked.requiresMfa,
    auditLevel: asked.auditLevel,
  };
  const ofRoles = (field: string, roles: readonly string[]) =>
    roles.map((role, index) => [`policy.${field}[${index}]`, ruleChecks.role(role)] as const);
  const violations = problems([
    ["policy.policy_id", ruleChecks.id(rule.id)],
    ["policy.service", ruleChecks.service(rule.service)],
    ["policy.method", ruleChecks.method(rule.method)],
    ["policy.environment", ruleChecks.environment(rule.environment)],
    ...ofRoles("allowed_roles", rule.allowedRoles),
    ...ofRoles("denied_roles", rule.deniedRoles),
    ["policy.audit_level", LEVELS.includes(rule.auditLevel) ? undefined : "is no level; use NONE to REQUEST"],
    ["policy", emptyRuleProblem(rule)],
  ]);
  if (violations.length > 0) throw invalid("The policy", violations);
  return rule;
}

/** What somebody wants explained. */
export interface AccessQuestion {
  subject: AccessSubject;
  target: AccessTarget;
  isOperator: boolean;
}

/**
 * Reads a question about a call.
 * @throws HmsError INVALID_ARGUMENT with every problem.
 */
export function readQuestion(request: policy.ExplainAccessRequest): AccessQuestion {
  const { principal, roles, mfa, serviceId, method } = request;
  const [, kind] = /^(operator|component|service|user|anonymous):.+$/s.exec(principal) ?? [];
  const environment = environmentOf(request);
  const violations = problems([
    [
      "principal",
      kind === undefined
        ? 'is no principal; write kind and name, "user:anna" or "service:default/payment-svc"'
        : undefined,
    ],
    [
      "service_id",
      ruleChecks.service(serviceId) ?? (serviceId.includes("*") ? "names one service, without *" : undefined),
    ],
    ["method", ruleChecks.method(method) ?? (method.includes("*") ? "names one method, without *" : undefined)],
    ["environment", ruleChecks.environment(environment)],
  ]);
  if (violations.length > 0) throw invalid("The question", violations);
  return {
    subject: { roles, mfa, known: kind !== "anonymous" },
    target: { environment, serviceId, method },
    isOperator: kind === "operator",
  };
}
