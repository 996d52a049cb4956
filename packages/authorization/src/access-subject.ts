import type { Principal } from "@hms/kernel";
import type { AccessSubject } from "./access-verdict.ts";

/** A principal as policies see it at a moment, in milliseconds since 1970; default now. */
export function subjectOf(principal: Principal, nowMs = Date.now()): AccessSubject {
  const { kind, id, roles = [], groups = [], mfa = false, environment, authenticatedAtMs } = principal;
  const isAgeKnown = mfa && authenticatedAtMs !== undefined;
  const age = isAgeKnown ? { mfaAgeS: Math.max(0, Math.ceil((nowMs - authenticatedAtMs) / 1000)) } : {};
  return { kind, id, roles, groups, mfa, environment, known: kind !== "anonymous", ...age };
}
