import type { IdentityDatabase } from "../identity-tables.ts";
import { sha256 } from "../secret-digest.ts";

/** Notes in which browser session a grant was made: it ends with that session. */
export async function bindGrant({ db }: IdentityDatabase, grantId: string, sessionId: string): Promise<void> {
  await db
    .updateTable("oidc_artifact")
    .set({ session_id: sessionId })
    .where("kind", "=", "Grant")
    .where("id_sha256", "=", sha256(grantId))
    .execute();
}
