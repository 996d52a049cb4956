import type { Principal } from "@hms/kernel";
import type { AccessSubject } from "./access-verdict.ts";

/** A principal as policies see it. */
export function subjectOf({ kind, id, roles = [], groups = [], mfa = false, environment }: Principal): AccessSubject {
  return { kind, id, roles, groups, mfa, environment, known: kind !== "anonymous" };
}
