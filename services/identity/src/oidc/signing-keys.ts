import type { SealingKey } from "@hms/secrets";
import type { JSONWebKeySet, JWK } from "jose";
import { type Selectable, sql } from "kysely";
import type { IdentityChanges } from "../identity-changes.ts";
import type { IdentityDatabase, IdentityTables, Queries } from "../identity-tables.ts";

/** A key that signs tokens, without its private part. */
export type SigningKeyRow = Omit<Selectable<IdentityTables["signing_key"]>, "sealed">;

/** Longer than any token signed by it lives. */
const RETIRED_FOR = "1 day";

const READ_AGAIN_MS = 60_000;

const contextOf = (kid: string) => ["identity", "signing-key", kid];

/** The keys that sign tokens; private parts lie sealed in the database. */
export class SigningKeys {
  readonly #database: IdentityDatabase;
  readonly #sealing: SealingKey;
  readonly #changes: IdentityChanges;
  #published: Promise<SigningKeyRow[]> | undefined;
  #readAt = 0;

  constructor(options: { database: IdentityDatabase; sealing: SealingKey; changes: IdentityChanges }) {
    this.#database = options.database;
    this.#sealing = options.sealing;
    this.#changes = options.changes;
    this.#changes.follow((change) => {
      if (change === "signing-keys" || change === "everything") this.#published = undefined;
    });
  }

  /** What is published: the key that signs, the next one, and those whose tokens may still be about. */
  list(): Promise<SigningKeyRow[]> {
    // Another process that died while it rotated has told nobody.
    if (performance.now() - this.#readAt > READ_AGAIN_MS) this.#published = undefined;
    if (this.#published === undefined) this.#readAt = performance.now();
    this.#published ??= this.#read().catch((error) => {
      this.#published = undefined;
      throw error;
    });
    return this.#published;
  }

  /** The public parts, as a JWKS. */
  async keySet(): Promise<JSONWebKeySet> {
    return { keys: (await this.list()).map(({ public_jwk }) => public_jwk as JWK) };
  }

  /** Private parts, the one that signs first. @throws HmsError FAILED_PRECONDITION if another key file sealed them. */
  async privateKeys(): Promise<JWK[]> {
    await this.list();
    const rows = await this.#ordered(this.#database.db).select("sealed").execute();
    return rows.map(({ kid, sealed }) => JSON.parse(this.#sealing.open(sealed, contextOf(kid)).toString()) as JWK);
  }

  /**
   * Signs with the next key from now on and publishes one more; what the last one signed stays good. Keys retired a day
   * ago are forgotten; from then on nothing that they signed is good, whether keys are rotated again or not.
   */
  async rotate(): Promise<SigningKeyRow[]> {
    await this.list();
    await this.#database.transaction(async (queries) => {
      await sql`select from signing_key for update`.execute(queries);
      await sql`update signing_key set state = 'retiring', retired_at = clock_timestamp() where state = 'current'`.execute(
        queries,
      );
      await sql`update signing_key set state = 'current' where state = 'next'`.execute(queries);
      await sql`delete from signing_key where retired_at < clock_timestamp() - ${RETIRED_FOR}::interval`.execute(
        queries,
      );
      await this.#insert(queries, "next");
    });
    await this.#changes.tell("signing-keys");
    return this.list();
  }

  async #read(): Promise<SigningKeyRow[]> {
    const found = await this.#ordered(this.#database.db).execute();
    if (found.some(({ state }) => state === "current")) return found;
    await this.#database.withAdvisoryLock("signing-keys", async () => {
      const again = await this.#ordered(this.#database.db).execute();
      if (again.some(({ state }) => state === "current")) return;
      await this.#database.transaction(async (queries) => {
        await this.#insert(queries, "current");
        await this.#insert(queries, "next");
      });
    });
    return this.#ordered(this.#database.db).execute();
  }

  #ordered(queries: Queries) {
    return (
      queries
        .selectFrom("signing_key")
        .select(["kid", "state", "public_jwk", "created_at", "retired_at"])
        // The last one that was retired lies there until keys are rotated again, which can be never.
        .where(sql<boolean>`(retired_at is null or retired_at > clock_timestamp() - ${RETIRED_FOR}::interval)`)
        .orderBy(sql`array_position(array['current', 'next', 'retiring'], state)`)
        .orderBy("created_at", "desc")
    );
  }

  async #insert(queries: Queries, state: "current" | "next"): Promise<void> {
    const { calculateJwkThumbprint, exportJWK, generateKeyPair } = await import("jose");
    const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
    const open = await exportJWK(publicKey);
    const kid = await calculateJwkThumbprint(open);
    const facts = { kid, alg: "ES256", use: "sig" };
    const secret = JSON.stringify({ ...(await exportJWK(privateKey)), ...facts });
    await queries
      .insertInto("signing_key")
      .values({
        kid,
        state,
        sealed: this.#sealing.seal(Buffer.from(secret), contextOf(kid)),
        public_jwk: JSON.stringify({ ...open, ...facts }),
      })
      .execute();
  }
}
