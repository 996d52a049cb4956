import { sql } from "kysely";
import type { LinkPurpose, Queries } from "../identity-tables.ts";
import { newSecret, sha256 } from "../secret-digest.ts";

/** How long links are good. */
const LIFETIME: Readonly<Record<LinkPurpose, string>> = {
  "set-up": "7 days",
  invitation: "3 days",
  reset: "10 minutes",
  verify: "1 day",
};

/** A link that was made. */
export interface NewLink {
  readonly token: string;
  readonly expiresAt: Date;
}

/** A link that is good. */
export interface GoodLink {
  readonly purpose: LinkPurpose;
  readonly accountId: string | null;
  /** Where it was mailed to; null: it was shown. */
  readonly email: string | null;
}

/** Makes a link that is good once; earlier ones for the same account end. */
export async function createLink(
  queries: Queries,
  purpose: LinkPurpose,
  { accountId, email = null }: { accountId: string | null; email?: string | null },
): Promise<NewLink> {
  await sql`delete from link where expires_at < clock_timestamp()
    or (purpose = ${purpose} and account_id is not distinct from ${accountId}::uuid)`.execute(queries);
  const token = newSecret();
  const row = await queries
    .insertInto("link")
    .values({
      token_sha256: sha256(token),
      purpose,
      account_id: accountId,
      email,
      expires_at: sql`clock_timestamp() + ${LIFETIME[purpose]}::interval`,
    })
    .returning("expires_at")
    .executeTakeFirstOrThrow();
  return { token, expiresAt: row.expires_at };
}

/** What a link is for, without using it; undefined if it is not good. */
export async function findLink(queries: Queries, token: string): Promise<GoodLink | undefined> {
  const row = await queries
    .selectFrom("link")
    .select(["purpose", "account_id", "email"])
    .where("token_sha256", "=", sha256(token))
    .where("expires_at", ">", sql<Date>`clock_timestamp()`)
    .executeTakeFirst();
  return row && { purpose: row.purpose, accountId: row.account_id, email: row.email };
}

/** Uses a link up, in the transaction that does what it is for; undefined if somebody else has. */
export async function useLink(queries: Queries, token: string): Promise<GoodLink | undefined> {
  const row = await queries
    .deleteFrom("link")
    .where("token_sha256", "=", sha256(token))
    .where("expires_at", ">", sql<Date>`clock_timestamp()`)
    .returning(["purpose", "account_id", "email"])
    .executeTakeFirst();
  return row && { purpose: row.purpose, accountId: row.account_id, email: row.email };
}
