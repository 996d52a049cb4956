import { sql } from "kysely";
import type { CeremonyPurpose, Queries } from "../identity-tables.ts";
import { newSecret, sha256 } from "../secret-digest.ts";

/** So long may somebody look for their phone. */
const LIFETIME = "10 minutes";

/** What a browser has begun. */
export interface Ceremony {
  readonly accountId: string;
  /** How they had shown who they are when it was begun: "pwd", or "fed" by an outside provider. */
  readonly firstMethod: string;
  /** What a passkey has to sign. */
  readonly challenge: string;
  /** A secret that is being confirmed. */
  readonly sealed: Uint8Array | null;
}

/** A ceremony with the secret by which the browser goes on with it. */
export interface BegunCeremony extends Ceremony {
  readonly token: string;
}

/** Begins a ceremony; only the SHA-256 of its token is kept. */
export async function beginCeremony(
  queries: Queries,
  purpose: CeremonyPurpose,
  begun: { accountId: string; firstMethod?: string; sealed?: Uint8Array | null },
): Promise<BegunCeremony> {
  const { accountId, firstMethod = "pwd", sealed = null } = begun;
  const [token, challenge] = [newSecret(), newSecret()];
  await queries
    .insertInto("ceremony")
    .values({
      token_sha256: sha256(token),
      purpose,
      account_id: accountId,
      challenge,
      first_method: firstMethod,
      sealed,
      expires_at: sql`clock_timestamp() + ${LIFETIME}::interval`,
    })
    .execute();
  return { token, accountId, firstMethod, challenge, sealed };
}

/**
 * Ends a ceremony and answers with it; undefined if it is over, or somebody else was first. One that goes on, because
 * what was shown was wrong, is a new one: no challenge is signed twice. A sign-in is over when its password has changed.
 */
export async function endCeremony(
  queries: Queries,
  purpose: CeremonyPurpose,
  token: string,
): Promise<Ceremony | undefined> {
  const row = await queries
    .deleteFrom("ceremony")
    .where("token_sha256", "=", sha256(token))
    .where("purpose", "=", purpose)
    .where("expires_at", ">", sql<Date>`clock_timestamp()`)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom("password")
            .select("password.account_id")
            .whereRef("password.account_id", "=", "ceremony.account_id")
            .whereRef("password.changed_at", ">", "ceremony.created_at"),
        ),
      ),
    )
    .returning(["account_id", "first_method", "challenge", "sealed"])
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const { account_id: accountId, first_method: firstMethod, challenge, sealed } = row;
  return { accountId, firstMethod, challenge, sealed };
}
