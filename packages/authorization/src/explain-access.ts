import { formatDuration } from "@hms/manifest";
import type { AccessSubject, AccessTarget, AccessVerdict } from "./access-verdict.ts";
import type { CompiledPolicy } from "./compiled-policy.ts";
import { resourceId } from "./entities.ts";
import type { ResourceTarget } from "./policy-set.ts";

const ROLE = "role:";
const listed = (texts: readonly string[]) => [...new Set(texts)].sort().join(", ");

/** Rules by their own ids, everything else by its policy's. */
function idsOf(policies: readonly CompiledPolicy[]): string {
  return listed(policies.map(({ id, rule }) => rule?.id ?? id));
}

function placeOf(target: AccessTarget | ResourceTarget): string {
  if ("permission" in target) return `${target.permission} on ${resourceId(target.resource)}`;
  return `${target.serviceId}/${target.method} in the environment "${target.environment}"`;
}

const lately = (maxAgeS: number | undefined) =>
  maxAgeS === undefined ? "more lately" : `at most ${formatDuration(maxAgeS * 1000)} ago`;

/** The roles that policies would take, as far as they name any. */
function wantedRoles(permits: readonly CompiledPolicy[]): string[] {
  return permits.flatMap(({ id, rule }) => rule?.allowedRoles ?? (id.startsWith(ROLE) ? [id.slice(ROLE.length)] : []));
}

function nobodyAllows(permits: readonly CompiledPolicy[], target: AccessTarget | ResourceTarget): string {
  const place = placeOf(target);
  const doing = "permission" in target ? place : `to call ${place}`;
  const rules = permits.filter(({ rule }) => rule !== undefined);
  // Who may do everything is no answer where others may do this.
  const answers = rules.length > 0 || "permission" in target ? rules.concat(ofRoles(permits, target)) : [];
  const wanted = wantedRoles(answers);
  if (answers.length === 0) return `Denied: no policy allows anybody ${doing}; write one with allowed_roles.`;
  if (wanted.length === 0) return `Denied: ${place} does not meet the conditions of ${idsOf(answers)}.`;
  return `Denied: ${place} needs one of the roles ${listed(wanted)} (${idsOf(answers)}).`;
}

function ofRoles(permits: readonly CompiledPolicy[], target: AccessTarget | ResourceTarget): CompiledPolicy[] {
  return "permission" in target ? permits.filter(({ id }) => id.startsWith(ROLE)) : [];
}

function denies(forbids: readonly CompiledPolicy[], { roles }: Pick<AccessSubject, "roles">): string {
  if (forbids.some(({ id }) => id === "built-in:other-environment")) {
    return "Denied: who lives in an environment calls services there only (built-in:other-environment).";
  }
  const denied = forbids
    .flatMap(({ rule }) => rule?.deniedRoles ?? [])
    .filter((role) => role === "*" || roles.includes(role));
  if (denied.length === 0) return `Denied: ${idsOf(forbids)} forbids it, whatever else allows it.`;
  return `Denied: ${idsOf(forbids)} denies the role ${listed(denied)}, whatever else allows it.`;
}

/** Why a verdict is as it is, or what would have to change for a call to be allowed, in one sentence. */
export function explainVerdict(
  { because, policies, errors, mfaMaxAgeS }: AccessVerdict,
  subject: Pick<AccessSubject, "roles">,
  target: AccessTarget | ResourceTarget,
): string {
  switch (because) {
    case "allowed":
      return `Allowed by ${idsOf(policies)}.`;
    case "mfa":
      return `Denied: ${idsOf(policies)} demands a second factor; sign in with one.`;
    case "mfa-age":
      return `Denied: ${idsOf(policies)} demands a second factor that was shown ${lately(mfaMaxAgeS)}; sign in again.`;
    case "denied":
      return denies(policies, subject);
    case "error":
      return `Denied: a policy cannot be evaluated, and then nothing is allowed: ${errors.join("; ")}.`;
    default:
      return nobodyAllows(policies, target);
  }
}
