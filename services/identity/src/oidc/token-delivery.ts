import { sql } from "kysely";
import type { IdentityDatabase } from "../identity-tables.ts";
import { sha256 } from "../secret-digest.ts";

/** Notes that the answer with a refresh token has left. */
export async function noteDelivery({ db }: IdentityDatabase, id: string): Promise<void> {
  await sql`update oidc_artifact set delivered_at = clock_timestamp()
    where kind = 'RefreshToken' and id_sha256 = ${sha256(id)}`.execute(db);
}
