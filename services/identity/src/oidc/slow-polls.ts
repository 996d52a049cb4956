import { sql } from "kysely";
import type { KoaContextWithOIDC } from "oidc-provider";
import type { IdentityDatabase } from "../identity-tables.ts";
import { sha256 } from "../secret-digest.ts";
import { forLibrary } from "./library-error.ts";

/** Programs wait five seconds if they are told nothing else (RFC 8628, section 3.2); networks hasten some of them by one. */
const SOONEST = "4 seconds";

/**
 * Tells programs that ask for their device code's tokens too often to slow down (RFC 8628, section 3.5), which the library
 * leaves to others. A code that was decided on is answered however soon.
 */
export function slowDownPolls(database: IdentityDatabase) {
  return async (ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> => {
    await next();
    if (ctx.path !== "/token" || errorOf(ctx.body) !== "authorization_pending") return;
    const code = String(ctx.oidc.params?.device_code);
    if (!(await forLibrary(isTooSoon(database, code)))) return;
    ctx.body = { error: "slow_down", error_description: "ask five seconds later each time from now on" };
  };
}

const errorOf = (body: unknown) =>
  typeof body === "object" && body !== null && "error" in body ? body.error : undefined;

/** Whether a code was asked for just now, also at another process; notes that it is asked for again. */
async function isTooSoon({ db }: IdentityDatabase, code: string): Promise<boolean> {
  const { rows } = await sql<{ soon: boolean | null }>`
    with before as (select kind, id_sha256, (payload ->> 'polledAt')::timestamptz as polled_at from oidc_artifact
      where kind = 'DeviceCode' and id_sha256 = ${sha256(code)} for update)
    update oidc_artifact a set payload = a.payload || jsonb_build_object('polledAt', clock_timestamp()) from before b
      where a.kind = b.kind and a.id_sha256 = b.id_sha256
      returning b.polled_at > clock_timestamp() - ${SOONEST}::interval as soon`.execute(db);
  return rows[0]?.soon === true;
}
