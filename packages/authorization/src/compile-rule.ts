import { ffiOptions } from "@hms/contracts";
import { type AccessRule, ANYBODY } from "./access-rule.ts";
import { type CompiledPolicy, type PolicyScope, READS_AGE, READS_NOTHING } from "./compiled-policy.ts";
import { CALL_PERMISSION } from "./entities.ts";
import { isExact, patternTest } from "./name-pattern.ts";
import { readCedarRule } from "./read-cedar-rule.ts";

const { UNSPECIFIED } = ffiOptions.AuditLevel;
const ACTION = `action == Action::${JSON.stringify(CALL_PERMISSION)}`;

/** Texts of rules are visible ASCII, so JSON's escapes and Cedar's are the same. */
const quoted = (text: string) => JSON.stringify(text);

/** Where a rule holds, as the head's resource and further conditions. */
function placeOf({ service, method, environment }: AccessRule): { resource: string; conditions: string[] } {
  const conditions: string[] = [];
  let resource = "resource is Method";
  if (isExact(service) && isExact(method)) resource = `resource == Method::${quoted(`${service}/${method}`)}`;
  else if (isExact(service)) resource = `resource in Api::${quoted(service)}`;
  else if (service !== ANYBODY) conditions.push(`resource.service like ${quoted(service)}`);
  if (method !== ANYBODY && !resource.includes("Method::")) {
    conditions.push(isExact(method) ? `resource.name == ${quoted(method)}` : `resource.name like ${quoted(method)}`);
  }
  if (environment !== "") conditions.push(`context.environment == ${quoted(environment)}`);
  // An API has methods only, but Cedar has to be told before it lets conditions look at them.
  if (resource.includes("Api::") && conditions.length > 0) conditions.unshift("resource is Method");
  return { resource, conditions };
}

/** Who has one of these roles, as the head's principal and a further condition. */
function holdersOf(roles: readonly string[]): { principal: string; condition?: string } {
  const [only] = roles;
  if (roles.length === 1) return { principal: `principal in Role::${quoted(only ?? "")}` };
  return { principal: "principal", condition: `principal in [${roles.map((role) => `Role::${quoted(role)}`)}]` };
}

function scopeOf({ service, method, environment }: AccessRule): PolicyScope {
  return {
    permissions: [CALL_PERMISSION],
    service: patternTest(service),
    method: patternTest(method),
    ...(environment === "" ? {} : { environment }),
  };
}

interface Part {
  suffix: "allow" | "deny" | "mfa";
  principal: string;
  condition?: string | undefined;
  unless?: string;
}

function policyOf(rule: AccessRule, { suffix, principal, condition, unless }: Part): CompiledPolicy {
  const { resource, conditions } = placeOf(rule);
  const effect = suffix === "allow" ? "permit" : "forbid";
  const all = condition === undefined ? conditions : [condition, ...conditions];
  const when = all.length === 0 ? "" : ` when { ${all.join(" && ")} }`;
  const but = unless === undefined ? "" : ` unless { ${unless} }`;
  return {
    id: `${rule.id}:${suffix}`,
    effect,
    text: `${effect} (${principal}, ${ACTION}, ${resource})${when}${but};`,
    scope: scopeOf(rule),
    reads: suffix === "mfa" && rule.mfaMaxAgeS !== undefined ? READS_AGE : READS_NOTHING,
    rule,
    auditLevel: UNSPECIFIED,
  };
}

/**
 * A rule in Cedar: what it allows, denies and demands as a policy each, none for one that only audits; a rule that is
 * written in Cedar as it stands.
 * @throws HmsError INVALID_ARGUMENT if Cedar cannot read its text
 */
export function compileRule(rule: AccessRule): CompiledPolicy[] {
  if (rule.cedar !== undefined) return [readCedarRule(rule, rule.cedar)];
  const { allowedRoles, deniedRoles, requiresMfa, mfaMaxAgeS } = rule;
  const parts: Part[] = [];
  if (allowedRoles.includes(ANYBODY)) {
    parts.push({ suffix: "allow", principal: "principal", unless: "principal is Anonymous" });
  } else if (allowedRoles.length > 0) parts.push({ suffix: "allow", ...holdersOf(allowedRoles) });
  if (deniedRoles.includes(ANYBODY)) parts.push({ suffix: "deny", principal: "principal" });
  else if (deniedRoles.length > 0) parts.push({ suffix: "deny", ...holdersOf(deniedRoles) });
  if (requiresMfa) {
    // An age that nobody knows is too great.
    const young =
      mfaMaxAgeS === undefined ? "" : ` && context has mfa_age && context.mfa_age <= ${Math.floor(mfaMaxAgeS)}`;
    parts.push({ suffix: "mfa", principal: "principal", unless: `context.mfa${young}` });
  }
  return parts.map((part) => policyOf(rule, part));
}
