import type { Queries } from "../identity-tables.ts";

/** Ends every browser session and every grant of an account, and forgets its codes and tokens. Answers how many. */
export async function endSessions(queries: Queries, accountId: string, exceptSession?: string): Promise<number> {
  const sessions = await queries
    .deleteFrom("session")
    .where("account_id", "=", accountId)
    .where("session_id", "!=", exceptSession ?? "")
    .returning("session_id")
    .execute();
  const artifacts = await queries
    .deleteFrom("oidc_artifact")
    .where("account_id", "=", accountId)
    .returning("kind")
    .execute();
  return sessions.length + artifacts.filter(({ kind }) => kind === "Grant").length;
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
