import type { AccessRule } from "./access-rule.ts";
import type { AccessSubject, AccessTarget, AccessVerdict } from "./access-verdict.ts";

const listed = (texts: readonly string[]) => [...new Set(texts)].sort().join(", ");
const idsOf = (rules: readonly AccessRule[]) => rules.map(({ id }) => id).join(", ");

/** Why a verdict is as it is, or what would have to change for a call to be allowed, in one sentence. */
export function explainVerdict(
  { because, rules }: AccessVerdict,
  { roles }: Pick<AccessSubject, "roles">,
  { environment, serviceId, method }: AccessTarget,
): string {
  if (because === "allowed") return `Allowed by ${idsOf(rules)}.`;
  if (because === "mfa") return `Denied: ${idsOf(rules)} demands a second factor; sign in with one.`;
  if (because === "denied") {
    const denied = rules.flatMap(({ deniedRoles }) =>
      deniedRoles.filter((role) => role === "*" || roles.includes(role)),
    );
    return `Denied: ${idsOf(rules)} denies the role ${listed(denied)}, whatever else allows it.`;
  }
  const place = `${serviceId}/${method} in the environment "${environment}"`;
  if (rules.length === 0) return `Denied: no policy allows anybody to call ${place}; write one with allowed_roles.`;
  const wanted = listed(rules.flatMap(({ allowedRoles }) => allowedRoles));
  return `Denied: ${place} needs one of the roles ${wanted} (${idsOf(rules)}).`;
}
