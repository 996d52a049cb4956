import { sql } from "kysely";
import type { IdentityDatabase } from "./identity-tables.ts";

const EVERY_MS = 10 * 60_000;

/** Deletes what has ended and nobody needs any more, every ten minutes. */
export function forgetEnded({ db }: IdentityDatabase, onFailure: (error: unknown) => void): Disposable {
  const forget = async () => {
    await sql`delete from oidc_artifact where expires_at < clock_timestamp() - interval '1 hour'`.execute(db);
    await sql`delete from session where expires_at < clock_timestamp()
      or last_seen_at < clock_timestamp() - interval '1 hour'`.execute(db);
    await sql`delete from link where expires_at < clock_timestamp()`.execute(db);
    await sql`delete from ceremony where expires_at < clock_timestamp()`.execute(db);
    await sql`delete from outside_visit where expires_at < clock_timestamp()`.execute(db);
    await sql`delete from attempt where last_at < clock_timestamp() - interval '1 day'`.execute(db);
  };
  const timer = setInterval(() => void forget().catch(onFailure), EVERY_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
