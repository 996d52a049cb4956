import type { Principal } from "@hms/kernel";
import { invalid } from "../errors.ts";
import { beginAttempt, endAttempt } from "../passwords/attempt-throttle.ts";
import { admitPassword, putPassword, recognise } from "../passwords/password-store.ts";
import { sha256 } from "../secret-digest.ts";
import type { ServiceGround } from "../service-ground.ts";
import type { AccountFacts } from "./account-store.ts";
import { isAdmin } from "./choose-password.ts";
import { endSessions, type KeptLogin, lockAccount } from "./take-away.ts";

/** What somebody gave who changes their password. */
export interface PasswordChange {
  readonly current: string;
  readonly password: string;
  /** Where they are. */
  readonly address: string;
  /** The login in which they do it, which goes on. */
  readonly keep: KeptLogin;
}

/**
 * Changes a password by the one before. Every other session and program of the account ends, links that were made for it
 * too, and its owner is told by mail.
 * @throws HmsError INVALID_ARGUMENT if the one before is wrong or was tried too often of late, or with every problem of
 * the new one.
 */
export async function changePassword(
  { database, breached, changes, mail }: Pick<ServiceGround, "database" | "breached" | "changes" | "mail">,
  account: AccountFacts,
  { current, password, address, keep }: PasswordChange,
): Promise<void> {
  const { account_id: accountId, login, email } = account;
  const attempt = { subject: login, address };
  const isFree = await beginAttempt(database, attempt);
  const known = isFree ? await recognise(database, login, current) : undefined;
  if (known?.accountId !== accountId) throw notYourPassword();
  await endAttempt(database, attempt);
  const owner = { login, email, isAdmin: isAdmin(account) };
  const hash = await admitPassword({ database, breached }, accountId, { password, owner });
  await database.transaction(async (queries) => {
    await lockAccount(queries, accountId);
    await putPassword(queries, accountId, hash);
    await queries.deleteFrom("link").where("account_id", "=", accountId).execute();
    await endSessions(queries, accountId, keep);
  });
  mail.tell(accountId, "The password was changed");
  await changes.tell({ account: accountId });
}

/** The login of a program that a principal came in by; undefined if it came in otherwise. */
export function grantOf({ credential = "" }: Principal): Buffer | undefined {
  return credential.startsWith("grant:") ? sha256(credential.slice("grant:".length)) : undefined;
}

function notYourPassword() {
  const description =
    "is not your password, or there were too many attempts of late. Look at it, and wait a minute before the next one.";
  return invalid([{ field: "current_password", description }]);
}
