import type { Policy, Principal } from "@hms/kernel";

/** What each component may do, by its id; "*" is everything. */
export type Grants = Readonly<Record<string, readonly string[]>>;

/** What principals of a kind may do, whoever they are. */
export type KindGrants = Readonly<Partial<Record<Principal["kind"], readonly string[]>>>;

const ALLOWED = Object.freeze({ allowed: true } as const);

const setsOf = (grants: Grants | KindGrants) =>
  new Map(Object.entries(grants).map(([id, permissions]) => [id, new Set(permissions)]));

/** The operator may do everything, a component what it was granted, others what their kind was, by default nothing. */
export function createLocalPolicy(grants: Grants, kindGrants: KindGrants = {}): Policy {
  const granted = setsOf(grants);
  const byKind = setsOf(kindGrants);
  return {
    decide({ principal, permission }) {
      if (principal.kind === "operator") return ALLOWED;
      const permissions = principal.kind === "component" ? granted.get(principal.id) : byKind.get(principal.kind);
      if (permissions?.has(permission) || permissions?.has("*")) return ALLOWED;
      return { allowed: false, reason: `only the operator and components that were granted ${permission} may` };
    },
  };
}
