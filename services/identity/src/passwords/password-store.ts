import { sql } from "kysely";
import { invalid } from "../errors.ts";
import type { IdentityDatabase, Queries } from "../identity-tables.ts";
import type { BreachedPasswords } from "../ports.ts";
import { hashPassword, isOutdated, verifyNobody, verifyPassword } from "./hash-password.ts";
import { type PasswordOwner, passwordProblems } from "./password-policy.ts";

/** How many earlier passwords somebody cannot have again. */
const HISTORY = 5;

/** What a new password is compared with. */
export interface PasswordGround {
  readonly database: IdentityDatabase;
  readonly breached: BreachedPasswords;
}

/**
 * Checks a new password against the policy, those that have leaked and the last five, and hashes it; nobody's yet if there
 * is no account.
 * @throws HmsError INVALID_ARGUMENT with every problem, FAILED_PRECONDITION if the list of breached ones cannot be used.
 */
export async function admitPassword(
  { database, breached }: PasswordGround,
  accountId: string | undefined,
  { password, owner }: { password: string; owner: PasswordOwner },
): Promise<string> {
  const problems = await passwordProblems(password, owner, breached);
  for (const hash of accountId === undefined ? [] : await earlierHashes(database.db, accountId)) {
    if (!(await verifyPassword(hash, password))) continue;
    problems.push({ field: "password", description: `was yours before; the last ${HISTORY} cannot be had again.` });
    break;
  }
  if (problems.length > 0) throw invalid(problems);
  return hashPassword(password);
}

async function earlierHashes(queries: Queries, accountId: string): Promise<string[]> {
  const now = await queries.selectFrom("password").select("hash").where("account_id", "=", accountId).execute();
  const before = await queries
    .selectFrom("password_history")
    .select("hash")
    .where("account_id", "=", accountId)
    .orderBy("replaced_at", "desc")
    .limit(HISTORY - 1)
    .execute();
  return [...now, ...before].map(({ hash }) => hash);
}

/** Makes a hash the account's password; the one before goes into its history. */
export async function putPassword(queries: Queries, accountId: string, hash: string): Promise<void> {
  await sql`insert into password_history (account_id, hash)
    select account_id, hash from password where account_id = ${accountId}`.execute(queries);
  await queries
    .insertInto("password")
    .values({ account_id: accountId, hash })
    .onConflict((conflict) => conflict.column("account_id").doUpdateSet({ hash, changed_at: sql`clock_timestamp()` }))
    .execute();
}

/** Takes an account's password away: its person chooses another by a link, which is none of the last ones. */
export async function forgetPassword(queries: Queries, accountId: string): Promise<void> {
  await sql`with gone as (delete from password where account_id = ${accountId} returning account_id, hash)
    insert into password_history (account_id, hash) select account_id, hash from gone`.execute(queries);
}

/** Somebody whose password was right. */
export interface Recognised {
  readonly accountId: string;
  /** What is kept of the password that was right. */
  readonly hash: string;
}

/**
 * Who has this login and password; undefined if nobody has, after the same time, whatever was wrong. Hashes of an older
 * cost are made again.
 */
export async function recognise(
  { db }: IdentityDatabase,
  login: string,
  password: string,
): Promise<Recognised | undefined> {
  const found = await db
    .selectFrom("account")
    .innerJoin("password", "password.account_id", "account.account_id")
    .select(["account.account_id", "account.active", "password.hash"])
    .where("account.login", "=", login)
    .where("account.kind", "=", "user")
    .executeTakeFirst();
  if (found === undefined) {
    await verifyNobody(password);
    return undefined;
  }
  const { account_id: accountId, active, hash } = found;
  const isRight = await verifyPassword(hash, password);
  if (!isRight || !active) return undefined;
  if (isOutdated(hash)) {
    const again = await hashPassword(password);
    const { numUpdatedRows } = await db
      .updateTable("password")
      .set({ hash: again })
      .where("hash", "=", hash)
      .executeTakeFirst();
    if (numUpdatedRows === 1n) return { accountId, hash: again };
  }
  return { accountId, hash };
}

/** Whether a password is still the account's that was right a moment ago; asked under the account's lock. */
export async function isStillPassword(queries: Queries, { accountId, hash }: Recognised): Promise<boolean> {
  const row = await queries
    .selectFrom("password")
    .select("hash")
    .where("account_id", "=", accountId)
    .executeTakeFirst();
  return row?.hash === hash;
}
