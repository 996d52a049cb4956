import type { SealingKey } from "@hms/secrets";
import { sql } from "kysely";
import type { IdentityDatabase, Queries } from "../identity-tables.ts";
import { sha256 } from "../secret-digest.ts";
import type { Journey } from "./outside-client.ts";

const LIFETIME = "10 minutes";

const contextOf = (provider: string) => ["identity", "outside-visit", provider];

/** Somebody on the way to a provider. */
export interface OutsideVisit {
  readonly provider: string;
  /** The account that is being linked; null: somebody signs in. */
  readonly accountId: string | null;
  /** Where to go afterwards. */
  readonly next: string;
}

/** Notes that somebody has left for a provider; what proves that the answer is theirs is kept sealed. */
export async function noteDeparture(
  queries: Queries,
  sealing: SealingKey,
  { journey, visit }: { journey: Journey; visit: OutsideVisit },
): Promise<void> {
  const { state, nonce, verifier } = journey;
  const { provider, accountId, next } = visit;
  await queries
    .insertInto("outside_visit")
    .values({
      state_sha256: sha256(state),
      provider,
      sealed: sealing.seal(Buffer.from(JSON.stringify({ nonce, verifier })), contextOf(provider)),
      account_id: accountId,
      next,
      expires_at: sql`clock_timestamp() + ${LIFETIME}::interval`,
    })
    .execute();
}

/** Somebody who comes back, once; undefined if nobody with this state is expected from this provider any more. */
export async function endDeparture(
  queries: Queries,
  sealing: SealingKey,
  { state, provider }: { state: string; provider: string },
): Promise<(OutsideVisit & { journey: Journey }) | undefined> {
  const row = await queries
    .deleteFrom("outside_visit")
    .where("state_sha256", "=", sha256(state))
    .where("provider", "=", provider)
    .where("expires_at", ">", sql<Date>`clock_timestamp()`)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const kept = JSON.parse(sealing.open(Buffer.from(row.sealed), contextOf(provider)).toString()) as Omit<
    Journey,
    "state"
  >;
  return { provider, accountId: row.account_id, next: row.next, journey: { state, ...kept } };
}

/** Who somebody is at a provider. */
export interface OutsideIdentity {
  readonly issuer: string;
  readonly subject: string;
}

/** The account that is linked with somebody at a provider; undefined if none is, or it may not come in. */
export async function accountLinkedWith(
  { db }: IdentityDatabase,
  { issuer, subject }: OutsideIdentity,
): Promise<string | undefined> {
  const row = await db
    .selectFrom("outside_identity")
    .innerJoin("account", "account.account_id", "outside_identity.account_id")
    .select("account.account_id")
    .where("issuer", "=", issuer)
    .where("subject", "=", subject)
    .where("account.active", "=", true)
    .where("account.kind", "=", "user")
    .executeTakeFirst();
  return row?.account_id;
}

/** The account that is linked with somebody at a provider, whether it may come in or not; undefined if none is. */
export function ownerOf(
  queries: Queries,
  { issuer, subject }: OutsideIdentity,
): Promise<{ account_id: string; active: boolean } | undefined> {
  return queries
    .selectFrom("outside_identity")
    .innerJoin("account", "account.account_id", "outside_identity.account_id")
    .select(["account.account_id", "account.active"])
    .where("issuer", "=", issuer)
    .where("subject", "=", subject)
    .executeTakeFirst();
}

/** Links an account with somebody at a provider; false if they are another account's. */
export async function link(
  queries: Queries,
  accountId: string,
  { issuer, subject }: OutsideIdentity,
): Promise<boolean> {
  await queries
    .insertInto("outside_identity")
    .values({ issuer, subject, account_id: accountId })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const owner = await queries
    .selectFrom("outside_identity")
    .select("account_id")
    .where("issuer", "=", issuer)
    .where("subject", "=", subject)
    .executeTakeFirst();
  return owner?.account_id === accountId;
}

/** Takes every link of an account with a provider away. */
export async function unlink(queries: Queries, accountId: string, issuer: string): Promise<void> {
  await queries
    .deleteFrom("outside_identity")
    .where("account_id", "=", accountId)
    .where("issuer", "=", issuer)
    .execute();
}

/** The issuers with which an account is linked. */
export async function linkedIssuers(queries: Queries, accountId: string): Promise<ReadonlySet<string>> {
  const rows = await queries
    .selectFrom("outside_identity")
    .select("issuer")
    .where("account_id", "=", accountId)
    .execute();
  return new Set(rows.map(({ issuer }) => issuer));
}
