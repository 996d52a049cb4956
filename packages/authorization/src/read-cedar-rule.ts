import type { EntityUidJson, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import { HmsError } from "@hms/kernel";
import type { AccessRule } from "./access-rule.ts";
import { AUDIT_LEVELS } from "./audit-level-words.ts";
import { cedar, messageOf } from "./cedar-engine.ts";
import type { CompiledPolicy, PolicyReads, PolicyScope } from "./compiled-policy.ts";

/** Policies are read once; rules never change. */
const known = new WeakMap<AccessRule, CompiledPolicy>();

const uidOf = (entity: EntityUidJson) => ("__entity" in entity ? entity.__entity : entity);

function permissionsOf({ action }: PolicyJson): Pick<PolicyScope, "permissions"> {
  if (action.op === "==" && "entity" in action) return { permissions: [uidOf(action.entity).id] };
  if (action.op !== "in") return {};
  const entities = "entities" in action ? action.entities : [action.entity];
  return { permissions: entities.map((entity) => uidOf(entity).id) };
}

function placeOf({ resource }: PolicyJson): Omit<PolicyScope, "permissions"> {
  if (resource.op === "is" && resource.entity_type === "Resource") return { service: () => false };
  if ((resource.op !== "==" && resource.op !== "in") || !("entity" in resource)) return {};
  const { type, id } = uidOf(resource.entity);
  if (type === "Api") return { service: (serviceId) => serviceId === id };
  if (type !== "Method") return { service: () => false, ...thingOf(resource.op, type, id) };
  const at = id.lastIndexOf("/");
  return { service: (serviceId) => serviceId === id.slice(0, at), method: (method) => method === id.slice(at + 1) };
}

/** A thing is in no other thing, and in no environment but its own. */
function thingOf(op: "==" | "in", type: string, id: string): Pick<PolicyScope, "thing" | "environment"> {
  if (type === "Resource") return { thing: id };
  return type === "Environment" && op === "in" ? { environment: id } : {};
}

const isVariable = (node: unknown, name: string) => (node as { Var?: string } | null)?.Var === name;

type Found = { -readonly [Key in keyof PolicyReads]: boolean };

/** What an expression looks at; whatever is not known to be harmless counts. */
function readsOf(node: unknown, found: Found): void {
  if (node === null || typeof node !== "object") return;
  if (isVariable(node, "principal")) found.identity = true;
  if (isVariable(node, "resource")) found.resource = true;
  if (isVariable(node, "context")) found.transport = true;
  for (const [operator, operand] of Object.entries(node)) {
    if (isAge(operand)) found.age = true;
    else if (!isHarmless(operator, operand)) readsOf(operand, found);
  }
}

/** Whether a part of an expression looks at nothing but roles, groups, kind, second factor and environments. */
function isHarmless(operator: string, operand: unknown): boolean {
  const { left, attr, right, entity_type: type, in: within } = (operand ?? {}) as Record<string, unknown>;
  const isMembership = operator === "in" || (operator === "is" && type !== undefined);
  if (isMembership) return isVariable(left, "principal") && namesGroupsOnly(right ?? within);
  if (operator !== "." && operator !== "has") return false;
  if (isVariable(left, "principal")) return isOnly(attr, "environment");
  return isVariable(left, "context") && !isOnly(attr, "transport");
}

/** Whether an operator is asked how long ago a second factor was shown, or whether that is known. */
function isAge(operand: unknown): boolean {
  const { left, attr } = (operand ?? {}) as Record<string, unknown>;
  return isVariable(left, "context") && isOnly(attr, "mfa_age");
}

const isOnly = (attr: unknown, name: string) => attr === name || (Array.isArray(attr) && attr.join() === name);

/** Whether what somebody is asked to be in are roles and groups: these are known without knowing who it is. */
function namesGroupsOnly(node: unknown): boolean {
  if (node === undefined) return true;
  const { Value, Set: members } = node as { Value?: unknown; Set?: unknown[] };
  if (members !== undefined) return members.every(namesGroupsOnly);
  const entity = (Value as { __entity?: { type: string } } | undefined)?.__entity;
  return entity !== undefined && (entity.type === "Role" || entity.type === "Group");
}

/** Methods are part of what is asked anyway: only things of the platform are looked at. */
const isThing = ({ resource }: PolicyJson) =>
  "entity" in resource && !["Api", "Method"].includes(uidOf(resource.entity).type);

function allReads(json: PolicyJson): PolicyReads {
  const { principal, conditions } = json;
  const found: Found = { identity: false, resource: isThing(json), transport: false, age: false };
  const entity = "entity" in principal ? uidOf(principal.entity) : undefined;
  if (principal.op === "==") found.identity = true;
  if (principal.op === "in" && entity?.type !== "Role" && entity?.type !== "Group") found.identity = true;
  for (const { body } of conditions) readsOf(body, found);
  return found;
}

/**
 * A policy written in Cedar, ready to be part of a set.
 * @throws HmsError INVALID_ARGUMENT, reason CEDAR_UNREADABLE, if the text is not exactly one policy
 */
export function readCedarRule(rule: AccessRule, text: string): CompiledPolicy {
  const before = known.get(rule);
  if (before !== undefined) return before;
  const answer = cedar().policyToJson(text);
  if (answer.type === "failure") {
    throw new HmsError("INVALID_ARGUMENT", `The policy ${rule.id} is no Cedar: ${messageOf(answer.errors)}`, {
      reason: "CEDAR_UNREADABLE",
    });
  }
  const { json } = answer;
  const policy: CompiledPolicy = {
    id: rule.id,
    effect: json.effect,
    text,
    scope: { ...permissionsOf(json), ...placeOf(json) },
    reads: allReads(json),
    rule,
    auditLevel: rule.auditLevel || (AUDIT_LEVELS[json.annotations?.audit_level ?? ""] ?? rule.auditLevel),
  };
  known.set(rule, policy);
  return policy;
}
