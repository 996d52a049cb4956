import type { identityProviders } from "@hms/contracts";
import type { Principal } from "@hms/kernel";
import { assertRoles } from "../accounts/create-account.ts";
import { invalid } from "../errors.ts";
import { groupRoles } from "../groups/group-store.ts";
import type { Queries } from "../identity-tables.ts";
import type { ServiceGround } from "../service-ground.ts";
import type { SignUpTerms } from "./provider-store.ts";

/** What a new person has, unless something else is said. */
const DEFAULT_ROLE = "viewer";

/**
 * Reads who is to get an account by a provider.
 * @throws HmsError INVALID_ARGUMENT if it would permit everything, NOT_FOUND of a role or group, PERMISSION_DENIED if the
 * caller would pass on what it does not have.
 */
export async function readSignUp(
  { roles: book, actingFor }: Pick<ServiceGround, "roles" | "actingFor">,
  queries: Queries,
  { asked, principal }: { asked: identityProviders.SignUp; principal: Principal },
): Promise<SignUpTerms> {
  const groups = [...new Set(asked.groups)];
  const roles = asked.roles.length === 0 && groups.length === 0 ? [DEFAULT_ROLE] : [...new Set(asked.roles)];
  const domains = [...new Set(asked.emailDomains)];
  const ofGroups = (await Promise.all(groups.map((group) => groupRoles(queries, group)))).flat();
  if (roles.length > 0) await assertRoles(queries, roles);
  const all = [...new Set([...roles, ...ofGroups])];
  const problems: { field: string; description: string }[] = [];
  if (domains.includes("*") && domains.length > 1) {
    problems.push({ field: "sign_up.email_domains", description: 'has "*", which stands alone.' });
  }
  for (const role of all.filter((name) => permitsAll(book.permissionsOf(name)))) {
    const description = `would give "${role}", which permits everything, to whoever comes; name another.`;
    problems.push({ field: roles.includes(role) ? "sign_up.roles" : "sign_up.groups", description });
  }
  if (problems.length > 0) throw invalid(problems);
  actingFor.assertCovers(principal, all);
  return { domains, roles, groups };
}

/** Whether permissions are all there are. */
export const permitsAll = (permissions: Iterable<string> | undefined) => [...(permissions ?? [])].includes("*");
