import { randomBytes } from "node:crypto";
import { type Selectable, sql } from "kysely";
import type { IdentityDatabase, IdentityTables, Queries } from "../identity-tables.ts";
import { newSecret, sha256 } from "../secret-digest.ts";

/** A session that nobody used for this long is over: minutes. */
const IDLE_MINUTES = 30;
/** No session lasts longer: hours. */
const ABSOLUTE_HOURS = 12;

const TOKEN = /^hmss_[A-Za-z0-9_-]{43}$/;

/** Somebody who is signed in with a browser. */
export interface BrowserSession {
  readonly sessionId: string;
  readonly accountId: string;
  /** How it was shown who it is: "pwd", "otp", "hwk" (RFC 8176). */
  readonly methods: readonly string[];
  readonly createdAt: Date;
  /** When they were last shown. */
  readonly authenticatedAt: Date;
  /** The absolute end. */
  readonly expiresAt: Date;
}

/** Where a session begins. */
export interface SessionOrigin {
  readonly address: string;
  readonly userAgent: string;
}

/** Whether a text has the form of a session's token. */
export function isSessionToken(token: string): boolean {
  return TOKEN.test(token);
}

/** Opens a session: a new id and a new token of 256 random bits, of which only the SHA-256 is kept. */
export async function openSession(
  queries: Queries,
  accountId: string,
  { address, userAgent, methods }: SessionOrigin & { methods: readonly string[] },
): Promise<{ token: string; session: BrowserSession }> {
  const token = `hmss_${newSecret()}`;
  const row = await queries
    .insertInto("session")
    .values({
      session_id: randomBytes(12).toString("hex"),
      token_sha256: sha256(token),
      account_id: accountId,
      expires_at: sql`clock_timestamp() + ${`${ABSOLUTE_HOURS} hours`}::interval`,
      methods: [...methods],
      address,
      user_agent: userAgent.slice(0, 300),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return { token, session: sessionOf(row) };
}

const sessionOf = (row: Selectable<IdentityTables["session"]>): BrowserSession => ({
  sessionId: row.session_id,
  accountId: row.account_id,
  methods: row.methods,
  createdAt: row.created_at,
  authenticatedAt: row.authenticated_at,
  expiresAt: row.expires_at,
});

/** Whether what somebody has shown is more than one factor. */
export const isMultiFactor = (methods: readonly string[]) => methods.length > 1;

/**
 * Lets a session of the same account go on under a new token, with what was shown just now; its programs go on with it.
 * Undefined if it has ended meanwhile.
 */
export async function renewSession(
  queries: Queries,
  sessionId: string,
  methods: readonly string[],
): Promise<{ token: string; session: BrowserSession } | undefined> {
  const token = `hmss_${newSecret()}`;
  const row = await queries
    .updateTable("session")
    .set({ token_sha256: sha256(token), methods: [...methods], authenticated_at: sql`clock_timestamp()` })
    .where("session_id", "=", sessionId)
    .where("expires_at", ">", sql<Date>`clock_timestamp()`)
    .returningAll()
    .executeTakeFirst();
  return row && { token, session: sessionOf(row) };
}

/** The session of a token, used now; undefined if there is none, it has ended, or its account may not come in. */
export async function useSession({ db }: IdentityDatabase, token: string): Promise<BrowserSession | undefined> {
  if (!isSessionToken(token)) return undefined;
  const row = await db
    .updateTable("session")
    .set({ last_seen_at: sql`clock_timestamp()` })
    .where("token_sha256", "=", sha256(token))
    .where("expires_at", ">", sql<Date>`clock_timestamp()`)
    .where("last_seen_at", ">", sql<Date>`clock_timestamp() - ${`${IDLE_MINUTES} minutes`}::interval`)
    .where("account_id", "in", (query) => query.selectFrom("account").select("account_id").where("active", "=", true))
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) return undefined;
  return sessionOf(row);
}

/** Ends a session and the grants made in it. True if there was one. */
export async function endSession(queries: Queries, sessionId: string): Promise<boolean> {
  await sql`delete from oidc_artifact where grant_sha256 in (
    select id_sha256 from oidc_artifact where kind = 'Grant' and session_id = ${sessionId})`.execute(queries);
  await queries.deleteFrom("oidc_artifact").where("session_id", "=", sessionId).execute();
  const [ended] = await queries
    .deleteFrom("session")
    .where("session_id", "=", sessionId)
    .returning("account_id")
    .execute();
  return ended !== undefined;
}
