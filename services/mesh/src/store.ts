import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import type { ServiceDatabase } from "@hms/postgres";
import { sql, type Transaction } from "kysely";
import type { EnvironmentPlace, PlacedService, SealedContent, Traffic } from "./snapshot-content.ts";

/** The tables of the mesh's schema. */
export interface MeshTables {
  environment: { name: string; slot: number };
  address: { environment: string; name: string; slot: number };
  service: { environment: string; name: string; picture: Uint8Array; changed_at: Date };
  snapshot: { version: string; content: Uint8Array; sha256: Uint8Array; created_at: Date };
}

/** A snapshot as it is kept. */
export interface StoredSnapshot extends SealedContent {
  version: bigint;
  createdAt: Date;
}

/** The name of a service in its environment. */
export interface ServiceKey {
  environment: string;
  name: string;
}

/** Reads and changes all traffic, alone: it holds the lock of the newest snapshot until its transaction ends. */
export class TrafficTransaction {
  readonly #trx: Transaction<MeshTables>;

  constructor(trx: Transaction<MeshTables>) {
    this.#trx = trx;
  }

  /** The newest snapshot, locked against everybody else who changes traffic. */
  async lockNewest(): Promise<StoredSnapshot> {
    const row = await this.#trx.selectFrom("snapshot").selectAll().forUpdate().executeTakeFirstOrThrow();
    return { version: BigInt(row.version), content: row.content, sha256: row.sha256, createdAt: row.created_at };
  }

  /** All traffic as the rows have it, environments by slot, services by environment and name. */
  async read(): Promise<Traffic> {
    const environments = await this.#trx.selectFrom("environment").select(["name", "slot"]).orderBy("slot").execute();
    const rows = await this.#trx
      .selectFrom("service")
      .innerJoin("address", (join) =>
        join.onRef("address.environment", "=", "service.environment").onRef("address.name", "=", "service.name"),
      )
      .select(["service.picture", "address.slot"])
      .orderBy("service.environment")
      .orderBy("service.name")
      .execute();
    const services = rows.map(({ picture, slot }): PlacedService => ({ picture: decode(picture), slot }));
    return { environments, services };
  }

  /** Keeps a new environment's place. */
  async addEnvironment(environment: EnvironmentPlace): Promise<void> {
    await this.#trx.insertInto("environment").values(environment).execute();
  }

  /** Takes an environment's place away; those of its services wait for their return. */
  async deleteEnvironment(name: string): Promise<void> {
    await this.#trx.deleteFrom("environment").where("name", "=", name).execute();
  }

  /**
   * The service's place in the address plan: the one it was given once, else the next. When there is no next below `most`, it
   * gets the first that belonged to an environment which is no more; `most` or more if there is none either.
   */
  async placeOf({ environment, name }: ServiceKey, most: number): Promise<number> {
    const given = await this.#trx
      .selectFrom("address")
      .select("slot")
      .where("environment", "=", environment)
      .where("name", "=", name)
      .executeTakeFirst();
    if (given) return given.slot;
    const { next } = await this.#trx
      .selectFrom("address")
      .select(sql<number>`coalesce(max(slot) + 1, 0)`.as("next"))
      .executeTakeFirstOrThrow();
    const slot = next < most ? next : ((await this.#takeAbandoned()) ?? next);
    await this.#trx.insertInto("address").values({ environment, name, slot }).execute();
    return slot;
  }

  async #takeAbandoned(): Promise<number | undefined> {
    const first = sql<number>`(select min(slot) from address a
      where not exists (select from environment e where e.name = a.environment))`;
    const taken = await this.#trx.deleteFrom("address").where("slot", "=", first).returning("slot").executeTakeFirst();
    return taken?.slot;
  }

  /** Sets a service's traffic picture. */
  async putService(picture: mesh.MeshServiceEntry): Promise<void> {
    const { environment, name } = picture;
    const row = { picture: toBinary(mesh.MeshServiceEntrySchema, picture), changed_at: sql<Date>`now()` };
    await this.#trx
      .insertInto("service")
      .values({ environment, name, ...row })
      .onConflict((conflict) => conflict.columns(["environment", "name"]).doUpdateSet(row))
      .execute();
  }

  /** Takes a service's traffic picture away; its place is kept. */
  async deleteService({ environment, name }: ServiceKey): Promise<void> {
    await this.#trx.deleteFrom("service").where("environment", "=", environment).where("name", "=", name).execute();
  }

  /** Makes this the newest snapshot. */
  async saveNewest({ version, content, sha256 }: SealedContent & { version: bigint }): Promise<StoredSnapshot> {
    const { created_at } = await this.#trx
      .updateTable("snapshot")
      .set({ version: String(version), content, sha256, created_at: sql<Date>`clock_timestamp()` })
      .returning("created_at")
      .executeTakeFirstOrThrow();
    return { version, content, sha256, createdAt: created_at };
  }
}

function decode(picture: Uint8Array): mesh.MeshServiceEntry {
  return fromBinary(mesh.MeshServiceEntrySchema, picture);
}

/** The mesh's rows; the only place with its SQL. */
export class MeshStore {
  readonly #database: Pick<ServiceDatabase<MeshTables>, "transaction">;

  constructor(database: Pick<ServiceDatabase<MeshTables>, "transaction">) {
    this.#database = database;
  }

  /** Does all of the work or nothing of it. */
  change<T>(work: (transaction: TrafficTransaction) => Promise<T>): Promise<T> {
    return this.#database.transaction((trx) => work(new TrafficTransaction(trx)));
  }
}
