import { retryWhileUnavailable, type ServiceDatabase } from "@hms/postgres";
import { type Selectable, sql } from "kysely";
import type { DeploymentTables } from "../tables.ts";

/** A preview on record. */
export type PreviewRow = Selectable<DeploymentTables["preview"]>;
/** A preview to be. */
type NewPreview = Pick<PreviewRow, "environment" | "base_environment" | "expires_at" | "owner">;
/** A preview with the services that are there, and who they belong to. */
export type FilledPreview = PreviewRow & { readonly services: readonly { name: string; owner: string }[] };

type Database = ServiceDatabase<DeploymentTables>["db"];

/** As exact as dates here are. */
const NOW = sql<Date>`date_trunc('milliseconds', clock_timestamp())`;
/** A person waits this long for the database. */
const PATIENCE_MS = 10_000;

/** Previews in the database. */
export class PreviewStore {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  #patiently<T>(work: () => Promise<T>): Promise<T> {
    return retryWhileUnavailable(work, { deadlineMs: PATIENCE_MS });
  }

  /** All of them, or one, the next to end first. */
  read(environment?: string): Promise<FilledPreview[]> {
    const services = sql<FilledPreview["services"]>`coalesce((
      select jsonb_agg(jsonb_build_object('name', s.name, 'owner', s.owner) order by s.name)
      from service s where s.environment = preview.environment), '[]')`;
    return this.#patiently(() =>
      this.#db
        .selectFrom("preview")
        .selectAll()
        .select(services.as("services"))
        .$if(environment !== undefined, (query) => query.where("environment", "=", environment ?? ""))
        .orderBy("expires_at")
        .orderBy("environment")
        .execute(),
    );
  }

  /** A preview without what is there; undefined: the environment is none. */
  find(environment: string): Promise<PreviewRow | undefined> {
    return this.#patiently(() =>
      this.#db.selectFrom("preview").selectAll().where("environment", "=", environment).executeTakeFirst(),
    );
  }

  /** Whether services are in an environment. */
  async isInUse(environment: string): Promise<boolean> {
    const found = await this.#patiently(() =>
      this.#db.selectFrom("service").select("name").where("environment", "=", environment).limit(1).execute(),
    );
    return found.length > 0;
  }

  /** Adds a preview unless there are `most` already; false then. */
  async add(row: NewPreview, most: number): Promise<boolean> {
    const { environment, base_environment, expires_at, owner } = row;
    const added = await this.#patiently(() =>
      this.#db
        .insertInto("preview")
        .columns(["environment", "base_environment", "expires_at", "owner", "created_at", "set_at"])
        .expression(
          sql<PreviewRow>`select ${environment}, ${base_environment}, ${expires_at}::timestamptz, ${owner},
            ${NOW}, ${NOW} where (select count(*) from preview) < ${most}`,
        )
        .onConflict((conflict) => conflict.column("environment").doUpdateSet({ expires_at, set_at: NOW, ended_by: "" }))
        .executeTakeFirst(),
    );
    return (added.numInsertedOrUpdatedRows ?? 0n) > 0n;
  }

  /** Moves the end of a preview. */
  async move(environment: string, change: Pick<PreviewRow, "expires_at" | "ended_by">): Promise<void> {
    await this.#patiently(() =>
      this.#db
        .updateTable("preview")
        .set({ ...change, set_at: NOW })
        .where("environment", "=", environment)
        .execute(),
    );
  }

  /** Forgets a preview in which nothing is left, unless its end has been moved since. */
  async forget({ environment, set_at }: PreviewRow): Promise<boolean> {
    const { numDeletedRows } = await this.#db
      .deleteFrom("preview")
      .where("environment", "=", environment)
      .where("set_at", "=", set_at)
      .where(({ not, exists, selectFrom }) =>
        not(exists(selectFrom("service").select("name").where("service.environment", "=", environment))),
      )
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }

  /** Whether a service of it was removed since its end was set. */
  async hasLost({ environment, set_at }: PreviewRow): Promise<boolean> {
    const found = await this.#db
      .selectFrom("rollout")
      .select("rollout_id")
      .where("environment", "=", environment)
      .where("kind", "=", "remove")
      .where("phase", "=", "succeeded")
      .where("started_at", ">", set_at)
      .limit(1)
      .execute();
    return found.length > 0;
  }
}
