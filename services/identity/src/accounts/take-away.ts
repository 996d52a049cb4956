import { sql } from "kysely";
import type { Queries } from "../identity-tables.ts";

/** A login that goes on while all others of its account end. */
export interface KeptLogin {
  /** A browser session's id. */
  readonly session?: string | undefined;
  /** SHA-256 of a grant, with the browser session that it belongs to. */
  readonly grant?: Buffer | undefined;
}

/** Lets nobody sign in by what is about to change until the transaction ends. */
export async function lockAccount(queries: Queries, accountId: string): Promise<void> {
  await sql`select from account where account_id = ${accountId} for update`.execute(queries);
}

/** Ends every browser session and every grant of an account, and forgets its codes and tokens. Answers how many. */
export async function endSessions(
  queries: Queries,
  accountId: string,
  { session = "", grant = Buffer.alloc(0) }: KeptLogin = {},
): Promise<number> {
  const ended = await sql`delete from session where account_id = ${accountId} and session_id != ${session}
    and session_id not in (select session_id from oidc_artifact
      where kind = 'Grant' and id_sha256 = ${grant} and session_id is not null)`.execute(queries);
  const { rows } = await sql<{ kind: string }>`delete from oidc_artifact where account_id = ${accountId}
    and id_sha256 != ${grant} and grant_sha256 is distinct from ${grant} returning kind`.execute(queries);
  return Number(ended.numAffectedRows ?? 0) + rows.filter(({ kind }) => kind === "Grant").length;
}

/** Ends everything by which an account can come in, its API keys too. */
export async function endEverything(queries: Queries, accountId: string): Promise<void> {
  await endSessions(queries, accountId);
  await queries
    .updateTable("api_key")
    .set({ revoked_at: new Date() })
    .where("account_id", "=", accountId)
    .where("revoked_at", "is", null)
    .execute();
}
