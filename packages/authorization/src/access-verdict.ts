import type { ffiOptions } from "@hms/contracts";
import type { Principal } from "@hms/kernel";
import type { AccessRule } from "./access-rule.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";

/** Who asks, as far as access policies go. */
export interface AccessSubject {
  readonly roles: readonly string[];
  readonly mfa: boolean;
  /** How many whole seconds ago a second factor was shown; default: that is not known. */
  readonly mfaAgeS?: number | undefined;
  /** False for whom nobody knows: "*" does not mean them. */
  readonly known: boolean;
  /** Default: "user". */
  readonly kind?: Principal["kind"];
  /** Default: empty. */
  readonly id?: string;
  /** Groups that it is in; default none. */
  readonly groups?: readonly string[];
  /** The only environment it lives in; default: it is bound to none. */
  readonly environment?: string | undefined;
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
  /**
   * Why: a policy allows it, one forbids it, it would be allowed with a second factor, or with one that was shown more
   * lately, none allows it, or one of them
   * could not be evaluated.
   */
  readonly because: "allowed" | "denied" | "mfa" | "mfa-age" | "default" | "error";
  /** Whether another one may follow when the second factor has grown older. */
  readonly readsAge: boolean;
  /** With "mfa" and "mfa-age": how many seconds ago a second factor may have been shown; undefined: that is not said. */
  readonly mfaMaxAgeS?: number | undefined;
  /** The rules that decide; by default: those that would allow somebody else. */
  readonly rules: readonly AccessRule[];
  /** The same in Cedar, those of roles and grants included. */
  readonly policies: readonly CompiledPolicy[];
  /** What could not be evaluated, by policy; empty otherwise. */
  readonly errors: readonly string[];
  /** The highest that any rule for the method demands; UNSPECIFIED: what the method's contract says. */
  readonly auditLevel: ffiOptions.AuditLevel;
}
