import type { ffiOptions } from "@hms/contracts";
import type { AccessRule } from "./access-rule.ts";

/** Who asks, as far as access policies go. */
export interface AccessSubject {
  readonly roles: readonly string[];
  readonly mfa: boolean;
  /** False for whom nobody knows: "*" does not mean them. */
  readonly known: boolean;
}

/** A method of a user's service. */
export interface AccessTarget {
  /** "default" is one like any other. */
  readonly environment: string;
  /** "hms.emr.patient". */
  readonly serviceId: string;
  /** "GetPatient". */
  readonly method: string;
}

/** What policies say of a call. */
export interface AccessVerdict {
  readonly allowed: boolean;
  /** Why: a rule allows it, one denies a role, one demands a second factor, none allows it. */
  readonly because: "allowed" | "denied" | "mfa" | "default";
  /** The rules that decide; by default: those that would allow somebody else. */
  readonly rules: readonly AccessRule[];
  /** The highest that any rule for the method demands; UNSPECIFIED: what the method's contract says. */
  readonly auditLevel: ffiOptions.AuditLevel;
}
