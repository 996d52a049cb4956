import type { Principal } from "@hms/kernel";
import { type AccountFacts, findAccount } from "../accounts/account-store.ts";
import type { IdentityDatabase } from "../identity-tables.ts";
import { isUuid } from "../uuid.ts";

/**
 * The principal of an account for work that outlives its call: with the roles it has now, and the limits it had then;
 * undefined if the account is none, or may not come in any more.
 */
export async function currentPrincipal({ db }: IdentityDatabase, before: Principal): Promise<Principal | undefined> {
  const { kind, id, endsAtMs: _, groups: __, authenticatedAtMs: ___, ...facts } = before;
  const account = isUuid(id) ? await findAccount(db, id) : undefined;
  if (account === undefined || account.kind !== kind || !account.active) return undefined;
  return Object.freeze({ ...facts, kind, id, roles: account.roles, ...namesOf(account) });
}

/** The principal of an account as it is now; undefined if there is none of this kind that may come in. */
export async function principalNamed(
  { db }: IdentityDatabase,
  kind: string,
  loginOrId: string,
): Promise<Principal | undefined> {
  const account = await findAccount(db, loginOrId);
  if (account === undefined || account.kind !== kind || !account.active) return undefined;
  return Object.freeze({ kind: account.kind, id: account.account_id, roles: account.roles, ...namesOf(account) });
}

const namesOf = ({ login, groups }: AccountFacts) => ({ login, ...(groups.length === 0 ? {} : { groups }) });
