import type { Policy } from "@hms/kernel";

/** What each component may do, by its id; "*" is everything. */
export type Grants = Readonly<Record<string, readonly string[]>>;

const ALLOWED = Object.freeze({ allowed: true } as const);

/** The operator may do everything, a component what it was granted, others nothing. */
export function createLocalPolicy(grants: Grants): Policy {
  const granted = new Map(Object.entries(grants).map(([id, permissions]) => [id, new Set(permissions)]));
  return {
    decide({ principal, permission }) {
      if (principal.kind === "operator") return ALLOWED;
      const permissions = principal.kind === "component" ? granted.get(principal.id) : undefined;
      if (permissions?.has(permission) || permissions?.has("*")) return ALLOWED;
      return { allowed: false, reason: `only the operator and components that were granted ${permission} may` };
    },
  };
}
