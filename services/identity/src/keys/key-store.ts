import { timingSafeEqual } from "node:crypto";
import { type Selectable, sql } from "kysely";
import type { IdentityDatabase, IdentityTables, Queries } from "../identity-tables.ts";
import { sha256 } from "../secret-digest.ts";
import { keyIdOf, newKeyText } from "./key-text.ts";

/** A key as it lies in the database. */
export type KeyRow = Selectable<IdentityTables["api_key"]>;

/** What a key is made of. */
export interface NewKey {
  readonly accountId: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly lifetimeSeconds: number;
  /** Stands in the key's text. */
  readonly instance: string;
}

/** Keeps a new key; its text is answered and forgotten. */
export async function insertKey(queries: Queries, key: NewKey): Promise<{ row: KeyRow; text: string }> {
  const { keyId, text } = newKeyText(key.instance);
  const row = await queries
    .insertInto("api_key")
    .values({
      key_id: keyId,
      account_id: key.accountId,
      name: key.name,
      sha256: sha256(text),
      scopes: [...key.scopes],
      expires_at: sql`clock_timestamp() + ${`${key.lifetimeSeconds} seconds`}::interval`,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return { row, text };
}

/** The key of a text, if it is good; its last use is noted, to the minute. */
export async function useKey({ db }: IdentityDatabase, text: string): Promise<KeyRow | undefined> {
  const keyId = keyIdOf(text);
  if (keyId === undefined) return undefined;
  const row = await db.selectFrom("api_key").selectAll().where("key_id", "=", keyId).executeTakeFirst();
  if (row === undefined || !timingSafeEqual(row.sha256, sha256(text))) return undefined;
  if (row.revoked_at !== null || row.expires_at.getTime() <= Date.now()) return undefined;
  const used = row.last_used_at?.getTime() ?? 0;
  if (Date.now() - used > 60_000) {
    await db.updateTable("api_key").set({ last_used_at: new Date() }).where("key_id", "=", keyId).execute();
  }
  return row;
}
