import type { ffiOptions } from "@hms/contracts";
import type { AccessRule } from "./access-rule.ts";

/** What a policy's conditions look at beside roles, groups, kind, second factor and environments. */
export interface PolicyReads {
  /** Who exactly asks. */
  readonly identity: boolean;
  /** The resource: its name, owner, tags, groups. */
  readonly resource: boolean;
  /** How the call came in. */
  readonly transport: boolean;
  /** How long ago a second factor was shown. */
  readonly age: boolean;
}

/** Whether a policy's text may speak of a second factor: whoever does not is not asked once more what one would change. */
export const mentionsFactor = ({ text }: CompiledPolicy): boolean => text.includes("mfa") || text.includes("\\");

/** Which calls a policy may be about, as its head says; it is part of no other decision. */
export interface PolicyScope {
  /** Permissions, "jobs:*" for all of a noun; undefined: all. */
  readonly permissions?: readonly string[];
  /** Whether it fits the service id of a method; undefined: all of them. */
  readonly service?: (serviceId: string) => boolean;
  /** Whether it fits a method's name; undefined: all of them. */
  readonly method?: (method: string) => boolean;
  /** The only environment; undefined: all of them. */
  readonly environment?: string;
  /** The entity id of the only thing of the platform, "services/prod/payment-svc"; undefined: all of them. */
  readonly thing?: string;
}

/** One policy in Cedar, and what it comes from. */
export interface CompiledPolicy {
  /** Unique in its set: "doctors:allow", "role:viewer", "service-grants". */
  readonly id: string;
  readonly effect: "permit" | "forbid";
  /** The whole policy in Cedar: scopes are never needed to read it right. */
  readonly text: string;
  readonly scope: PolicyScope;
  readonly reads: PolicyReads;
  /** True: its conditions begin with `principal has environment`, so it says nothing of who lives in none; default: it may. */
  readonly ofEnvironments?: boolean;
  /** The rule that it is compiled from or written in; undefined for roles, grants and what is built in. */
  readonly rule?: AccessRule;
  /** What calls that it decides leave in the audit log; UNSPECIFIED: what the contract says. */
  readonly auditLevel: ffiOptions.AuditLevel;
}

/** Looks at nothing but roles, groups, kind, second factor and environments. */
export const READS_NOTHING: PolicyReads = Object.freeze({
  identity: false,
  resource: false,
  transport: false,
  age: false,
});

/** Looks at how long ago a second factor was shown, and at nothing else. */
export const READS_AGE: PolicyReads = Object.freeze({ ...READS_NOTHING, age: true });

const ROLE = /\bRole\s*::\s*"([^"\\]*)"/g;

/** The roles that policies can ask for; undefined if that cannot be read off their texts: then it may be any. */
export function mentionedRoles(policies: readonly CompiledPolicy[]): ReadonlySet<string> | undefined {
  const roles = new Set<string>();
  for (const { text } of policies) {
    const found = [...text.matchAll(ROLE)];
    if (found.length !== text.match(/Role/g)?.length && text.includes("Role")) return undefined;
    for (const [, role = ""] of found) roles.add(role);
  }
  return roles;
}
