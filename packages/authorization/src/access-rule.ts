import { ffiOptions } from "@hms/contracts";

/** Who may call what: one policy of hms.ffi.v1, read. */
export interface AccessRule {
  /** Unique in its set. */
  readonly id: string;
  /** A service id, * for any part. */
  readonly service: string;
  /** A method name, * for any part. */
  readonly method: string;
  /** Roles of which a principal needs one; "*": every known principal. */
  readonly allowedRoles: readonly string[];
  /** Roles of which a principal may have none; "*": nobody may. */
  readonly deniedRoles: readonly string[];
  /** Whether nobody may call it without a second factor, whoever else allows it. */
  readonly requiresMfa: boolean;
  /** With `requiresMfa`: how many seconds ago the second factor was shown at most; default: however long ago. */
  readonly mfaMaxAgeS?: number;
  /** UNSPECIFIED: what the method's contract says. */
  readonly auditLevel: ffiOptions.AuditLevel;
  /** Empty: in every environment. */
  readonly environment: string;
  /** The whole policy in Cedar; it then says itself whom and what it is about, and roles and names above say nothing. */
  readonly cedar?: string;
  /** What it is for, in its author's words. */
  readonly description?: string;
  /** Who wrote it, "user:anna". */
  readonly author?: string;
  /** What has to stay true of the policies in force whenever one is changed. */
  readonly tests?: readonly PolicyTest[];
}

/** One expectation that comes with a policy. */
export interface PolicyTest {
  /** "user:anna". */
  readonly principal: string;
  readonly roles: readonly string[];
  /** A permission of the platform ("services:deploy") or the permission of users' methods, "services:call". */
  readonly action: string;
  /** "hms.emr.patient/GetPatient" for users' methods, the name of a thing of the platform otherwise. */
  readonly resource: string;
  readonly mfa: boolean;
  /** Default "default". */
  readonly environment: string;
  /** Empty: nobody's. */
  readonly owner: string;
  readonly expectAllowed: boolean;
}

/** A second factor counts no longer than that anyway. */
const LONGEST_MFA_AGE_S = 12 * 3600;

/** What applies to every known principal. */
export const ANYBODY = "*";

const SERVICE = /^[a-z*](?:[a-z0-9_.*]*[a-z0-9_*])?$/;
const METHOD = /^[A-Za-z0-9_*]+$/;
const ROLE = /^[\x21-\x7e]{1,200}$/;
const ENVIRONMENT = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const RULE_ID = /^[\x21-\x7e]{1,200}$/;
const ACTION = /^[a-z][a-z-]*:[a-z]+$/;
const LONGEST = 200;

const quoted = (text: string) => JSON.stringify(text.slice(0, 80));

/** What is wrong with the texts of a rule, as the rest of a sentence about them. */
export const ruleChecks = {
  id: (text: string) => (RULE_ID.test(text) ? undefined : "is no id; use 1 to 200 visible ASCII characters"),
  service: (text: string) =>
    SERVICE.test(text) && text.length <= LONGEST
      ? undefined
      : `cannot be ${quoted(text)}; write a service id with * for any part, "hms.emr.*"`,
  method: (text: string) =>
    METHOD.test(text) && text.length <= LONGEST
      ? undefined
      : `cannot be ${quoted(text)}; write a method name with * for any part, "Get*"`,
  role: (text: string) => (ROLE.test(text) ? undefined : `cannot be ${quoted(text)}; use visible ASCII characters`),
  action: (text: string) =>
    ACTION.test(text) ? undefined : `cannot be ${quoted(text)}; write a permission, "services:deploy"`,
  mfaMaxAgeMs: (ms: number | undefined) =>
    ms !== undefined && ms % 1000 === 0 && ms >= 1000 && ms <= LONGEST_MFA_AGE_S * 1000
      ? undefined
      : 'is no age of a second factor; write whole seconds from "1s" to "12h", "15m": longer ago it counts for nothing anyway',
  environment: (text: string) =>
    text === "" || ENVIRONMENT.test(text)
      ? undefined
      : `cannot be ${quoted(text)}; use 1 to 63 lower-case letters, digits and inner hyphens`,
};

/** What is wrong with a rule as a whole: one that neither allows, denies, demands nor audits does nothing. */
export function emptyRuleProblem(rule: Omit<AccessRule, "id">): string | undefined {
  const says = rule.allowedRoles.length + rule.deniedRoles.length > 0 || rule.requiresMfa;
  if (rule.cedar !== undefined) {
    const isPlain = !says && rule.service === ANYBODY && rule.method === ANYBODY && rule.environment === "";
    return isPlain ? undefined : "is written in Cedar: leave out service, method, roles, requires_mfa and environment";
  }
  if (says || rule.auditLevel !== ffiOptions.AuditLevel.UNSPECIFIED) return undefined;
  return "says nothing; name allowed_roles, denied_roles, requires_mfa or audit_level";
}
