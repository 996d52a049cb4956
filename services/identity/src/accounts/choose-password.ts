import { linkGone } from "../errors.ts";
import type { IdentityChanges } from "../identity-changes.ts";
import type { IdentityDatabase, LinkPurpose, Queries } from "../identity-tables.ts";
import { admitPassword, type PasswordGround, putPassword } from "../passwords/password-store.ts";
import { type AccountFacts, accountFacts } from "./account-store.ts";
import { findLink, useLink } from "./link-store.ts";
import { noteProof } from "./mail-address.ts";
import { endSessions, lockAccount } from "./take-away.ts";

/** Links by which a password is chosen. */
const CHOOSES: ReadonlySet<LinkPurpose> = new Set(["invitation", "reset"]);

/** Whose password a link sets. @throws HmsError NOT_FOUND if it is no good link of that kind. */
export async function ownerOfLink({ db }: IdentityDatabase, token: string): Promise<AccountFacts> {
  const link = await findLink(db, token);
  const owner = link?.accountId == null || !CHOOSES.has(link.purpose) ? undefined : await active(db, link.accountId);
  if (owner === undefined) throw linkGone();
  return owner;
}

const active = (queries: Queries, accountId: string) =>
  accountFacts(queries).where("account_id", "=", accountId).where("active", "=", true).executeTakeFirst();

/** What somebody with a link gave. */
export interface ChosenPassword {
  readonly token: string;
  readonly password: string;
}

/** Whether an account may do everything, and needs a longer password. */
export const isAdmin = ({ roles }: Pick<AccountFacts, "roles">) => roles.includes("admin");

/**
 * Sets a password by a link, uses the link up and ends every session of the account; nobody is signed in by it. Answers
 * with the account.
 * @throws HmsError INVALID_ARGUMENT with every problem of the password, NOT_FOUND if the link is not good.
 */
export async function choosePassword(
  { database, breached, changes }: PasswordGround & { changes: IdentityChanges },
  { token, password }: ChosenPassword,
): Promise<string> {
  const owner = await ownerOfLink(database, token);
  const accountId = owner.account_id;
  const { login, email } = owner;
  const hash = await admitPassword({ database, breached }, accountId, {
    password,
    owner: { login, email, isAdmin: isAdmin(owner) },
  });
  await database.transaction(async (queries) => {
    await lockAccount(queries, accountId);
    const link = await useLink(queries, token);
    if (link?.accountId !== accountId || !CHOOSES.has(link.purpose)) throw linkGone();
    await noteProof(queries, link);
    await putPassword(queries, accountId, hash);
    await queries.deleteFrom("link").where("account_id", "=", accountId).execute();
    await endSessions(queries, accountId);
  });
  await changes.tell({ account: accountId });
  return accountId;
}
