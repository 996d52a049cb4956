import type { AccessRule } from "./access-rule.ts";

const isPlace = (a: AccessRule, b: AccessRule) =>
  a.service === b.service && a.method === b.method && a.environment === b.environment;

const without = (roles: readonly string[], others: readonly string[]) => roles.some((role) => !others.includes(role));

/** The service patterns of which somebody may call less, judged by the rules alone: too many rather than too few. */
export function takenAway(before: readonly AccessRule[], after: readonly AccessRule[]): string[] {
  const old = new Map(before.map((rule) => [rule.id, rule]));
  const now = new Map(after.map((rule) => [rule.id, rule]));
  const services = new Set<string>();
  for (const rule of before) {
    const next = now.get(rule.id);
    const allowed = next && isPlace(rule, next) ? next.allowedRoles : [];
    if (without(rule.allowedRoles, allowed)) services.add(rule.service);
  }
  for (const rule of after) {
    const last = old.get(rule.id);
    const same = last !== undefined && isPlace(rule, last) ? last : undefined;
    const demandsMore = rule.requiresMfa && !same?.requiresMfa;
    if (demandsMore || without(rule.deniedRoles, same?.deniedRoles ?? [])) services.add(rule.service);
  }
  return [...services];
}
