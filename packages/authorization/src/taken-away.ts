import type { AccessRule } from "./access-rule.ts";
import { CALL_PERMISSION } from "./entities.ts";
import type { RoleDefinition } from "./role-book.ts";

const isPlace = (a: AccessRule, b: AccessRule) =>
  a.service === b.service && a.method === b.method && a.environment === b.environment;

const without = (roles: readonly string[], others: readonly string[]) => roles.some((role) => !others.includes(role));

/** The service patterns of which somebody may call less, judged by the rules alone: too many rather than too few. */
export function takenAway(before: readonly AccessRule[], after: readonly AccessRule[]): string[] {
  // Nobody knows of whom a policy in Cedar takes what.
  const byCedar = cedarOf(before) === cedarOf(after) ? [] : ["*"];
  return [...new Set([...byCedar, ...noLongerAllowed(before, after), ...newlyDenied(before, after)])];
}

function noLongerAllowed(before: readonly AccessRule[], after: readonly AccessRule[]): string[] {
  const now = new Map(after.map((rule) => [rule.id, rule]));
  return before.flatMap((rule) => {
    const next = now.get(rule.id);
    const allowed = next && isPlace(rule, next) ? next.allowedRoles : [];
    return without(rule.allowedRoles, allowed) ? [rule.service] : [];
  });
}

const oldestOf = ({ mfaMaxAgeS = Number.POSITIVE_INFINITY }: AccessRule) => mfaMaxAgeS;

function newlyDenied(before: readonly AccessRule[], after: readonly AccessRule[]): string[] {
  const old = new Map(before.map((rule) => [rule.id, rule]));
  return after.flatMap((rule) => {
    const last = old.get(rule.id);
    const same = last !== undefined && isPlace(rule, last) ? last : undefined;
    const demandsMore = rule.requiresMfa && (!same?.requiresMfa || oldestOf(rule) < oldestOf(same));
    return demandsMore || without(rule.deniedRoles, same?.deniedRoles ?? []) ? [rule.service] : [];
  });
}

function cedarOf(rules: readonly AccessRule[]): string {
  const texts = rules.flatMap(({ id, cedar }) => (cedar === undefined ? [] : [`${id}\0${cedar}`]));
  return texts.sort().join("\0\0");
}

const callPermissions = [CALL_PERMISSION, "services:*", "*"];

/** Whether a role that could call users' methods by itself no longer can. */
export function newlyWithout(before: readonly RoleDefinition[], after: readonly RoleDefinition[]): boolean {
  const calls = ({ permissions }: RoleDefinition) => callPermissions.some((each) => permissions.includes(each));
  const now = new Set(after.filter(calls).map(({ name }) => name));
  return before.filter(calls).some(({ name }) => !now.has(name));
}
