import type { IdentityDatabase } from "../identity-tables.ts";
import { sha256 } from "../secret-digest.ts";
import type { BrowserSession } from "../sessions/session-store.ts";

/**
 * Notes how its owner had shown who they are when a grant was made, and if it ends with the browser session, in which one
 * that was.
 */
export async function bindGrant(
  { db }: IdentityDatabase,
  grantId: string,
  { session, endsWithIt }: { session: BrowserSession; endsWithIt: boolean },
): Promise<void> {
  const { methods, authenticatedAt, sessionId } = session;
  await db
    .updateTable("oidc_artifact")
    .set({ methods: [...methods], authenticated_at: authenticatedAt, ...(endsWithIt ? { session_id: sessionId } : {}) })
    .where("kind", "=", "Grant")
    .where("id_sha256", "=", sha256(grantId))
    .execute();
}
