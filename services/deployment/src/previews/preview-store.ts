import { retryWhileUnavailable, type ServiceDatabase } from "@hms/postgres";
import { type Kysely, type Selectable, sql, type Transaction } from "kysely";
import { destroyVersions, lockSecrets, readSecretNames, readVersions } from "../secrets/secret-store.ts";
import type { DeploymentTables } from "../tables.ts";

/** A preview on record. */
export type PreviewRow = Selectable<DeploymentTables["preview"]>;
/** A preview to be. */
type NewPreview = Pick<PreviewRow, "environment" | "base_environment" | "expires_at" | "owner">;
/** A preview with the services that are there, and who they belong to. */
export type FilledPreview = PreviewRow & { readonly services: readonly { name: string; owner: string }[] };

/** What became of a preview that was to be added. */
type Added = "added" | "there already" | "in use" | "too many";
/** What was forgotten with a preview. */
export interface Forgotten {
  readonly secrets: readonly { name: string; versions: number[] }[];
  /** Of which services; "": of all. */
  readonly freezes: readonly string[];
}

type Trx = Transaction<DeploymentTables>;

/** As exact as dates here are. */
const NOW = sql<Date>`date_trunc('milliseconds', clock_timestamp())`;
/** Never the time of the change before. */
const LATER = sql<Date>`greatest(${NOW}, set_at + interval '1 millisecond')`;
/** A person waits this long for the database. */
const PATIENCE_MS = 10_000;

/**
 * Keeps an environment what it is, a preview or none, until the transaction ends; alone ("change") against everybody who
 * relies on that ("keep").
 */
export async function lockPreview(trx: Trx, environment: string, purpose: "keep" | "change"): Promise<void> {
  const lock = sql.raw(purpose === "keep" ? "pg_advisory_xact_lock_shared" : "pg_advisory_xact_lock");
  await sql`select ${lock}(hashtextextended(${`preview/${environment}`}, 0))`.execute(trx);
}

/** Previews in the database. */
export class PreviewStore {
  readonly #database: ServiceDatabase<DeploymentTables>;
  readonly #db: ServiceDatabase<DeploymentTables>["db"];

  constructor(database: ServiceDatabase<DeploymentTables>) {
    this.#database = database;
    this.#db = database.db;
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
    return this.#patiently(() => findPreview(this.#db, environment));
  }

  /** Adds a preview unless there are `most` already, or the environment is used as one of its own. */
  add(row: NewPreview, most: number): Promise<Added> {
    const { environment } = row;
    const add = () =>
      this.#database.transaction(async (trx): Promise<Added> => {
        await lockPreview(trx, environment, "change");
        if (await findPreview(trx, environment)) return "there already";
        if (await isInUse(trx, environment)) return "in use";
        const { count } = await trx
          .selectFrom("preview")
          .select(({ fn }) => fn.countAll<string>().as("count"))
          .executeTakeFirstOrThrow();
        if (Number(count) >= most) return "too many";
        await trx
          .insertInto("preview")
          .values({ ...row, created_at: NOW, set_at: NOW })
          .execute();
        return "added";
      });
    return this.#patiently(add);
  }

  /** Moves the end of a preview, unless somebody has since it was read; false then. */
  async move(
    { environment, set_at }: PreviewRow,
    change: Pick<PreviewRow, "expires_at" | "ended_by">,
  ): Promise<boolean> {
    const { numUpdatedRows } = await this.#patiently(() =>
      this.#db
        .updateTable("preview")
        .set({ ...change, set_at: LATER })
        .where("environment", "=", environment)
        .where("set_at", "=", set_at)
        .executeTakeFirst(),
    );
    return numUpdatedRows > 0n;
  }

  /** Says that a preview is wanted as it is, whatever was removed there before; false if there is none. */
  async renew(environment: string): Promise<boolean> {
    const { numUpdatedRows } = await this.#patiently(() =>
      this.#db.updateTable("preview").set({ set_at: LATER }).where("environment", "=", environment).executeTakeFirst(),
    );
    return numUpdatedRows > 0n;
  }

  /**
   * Forgets a preview in which no service is left, with its secrets and freezes, unless its end has been moved since;
   * undefined then. Nothing is deployed there while `release` gives back what others keep for the environment.
   */
  forget(
    { environment, set_at }: PreviewRow,
    release: (environment: string) => Promise<void>,
  ): Promise<Forgotten | undefined> {
    return this.#database.transaction(async (trx) => {
      await lockPreview(trx, environment, "change");
      const { numDeletedRows } = await trx
        .deleteFrom("preview")
        .where("environment", "=", environment)
        .where("set_at", "=", set_at)
        .where(({ not, exists, selectFrom }) =>
          not(exists(selectFrom("service").select("name").where("service.environment", "=", environment))),
        )
        .executeTakeFirst();
      if (numDeletedRows === 0n) return undefined;
      const freezes = await trx
        .deleteFrom("deploy_freeze")
        .where("environment", "=", environment)
        .returning("service")
        .execute();
      const secrets = await destroySecrets(trx, environment);
      await release(environment);
      return { secrets, freezes: freezes.map(({ service }) => service) };
    });
  }

  /** Services of an environment that are being removed, and who they belong to. */
  removing(environment: string): Promise<{ name: string; owner: string }[]> {
    return this.#patiently(() =>
      this.#db
        .selectFrom("service as s")
        .select(["s.name", "s.owner"])
        .where("s.environment", "=", environment)
        .where(
          sql<boolean>`exists (select from rollout r where (r.environment, r.service) = (s.environment, s.name)
            and r.kind = 'remove' and r.ended_at is null)`,
        )
        .orderBy("s.name")
        .execute(),
    );
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

type Queries = Kysely<DeploymentTables> | Trx;

/** A preview as it is; undefined: the environment is none. */
export function findPreview(db: Queries, environment: string): Promise<PreviewRow | undefined> {
  return db.selectFrom("preview").selectAll().where("environment", "=", environment).executeTakeFirst();
}

/** Keeps the end of a preview where it was when it was read until the transaction ends; false if it has been moved. */
export async function holdEnd(trx: Trx, { environment, set_at }: PreviewRow): Promise<boolean> {
  const found = await trx
    .selectFrom("preview")
    .select("environment")
    .where("environment", "=", environment)
    .where("set_at", "=", set_at)
    .forShare()
    .execute();
  return found.length > 0;
}

/** Whether somebody has, or prepares, something in an environment: services, secrets, freezes. */
async function isInUse(trx: Trx, environment: string): Promise<boolean> {
  const { rows } = await sql<{ used: boolean }>`select
    exists (select from service where environment = ${environment})
    or exists (select from secret where environment = ${environment} and removed_at is null)
    or exists (select from deploy_freeze where environment = ${environment} and until > now()) as used`.execute(trx);
  return rows[0]?.used ?? false;
}

async function destroySecrets(trx: Trx, environment: string): Promise<Forgotten["secrets"]> {
  const names = await readSecretNames(trx, environment);
  if (names.length === 0) return [];
  await lockSecrets(trx, environment, names);
  const found = await readVersions(
    trx,
    names.map((name) => ({ environment, name })),
  );
  const secrets = names.map((name) => ({
    name,
    versions: found.flatMap((each) => (each.name === name ? [each.version] : [])),
  }));
  for (const { name, versions } of secrets) await destroyVersions(trx, { environment, name }, versions);
  await trx
    .updateTable("secret")
    .set({ removed_at: sql<Date>`clock_timestamp()` })
    .where("environment", "=", environment)
    .where("name", "in", names)
    .execute();
  return secrets;
}
