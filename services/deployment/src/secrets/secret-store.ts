import { HmsError } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import { type Kysely, type RawBuilder, type Selectable, sql, type Transaction } from "kysely";
import type { DeploymentTables } from "../tables.ts";
import type { SecretVersions } from "./secret-tables.ts";

type Queries = Kysely<DeploymentTables> | Transaction<DeploymentTables>;

/** Names a secret. */
export interface SecretKey {
  environment: string;
  name: string;
}

/** A version with its value sealed; undefined if it was destroyed. */
export interface StoredVersion extends SecretKey {
  version: number;
  sealed: Buffer | undefined;
  setBy: string;
  setAt: Date;
}

/** A service whose current revision has a secret. */
export interface SecretUser {
  environment: string;
  service: string;
  owner: string;
  /** By name. */
  secrets: SecretVersions;
  wanted: number;
  asleep: boolean;
}

const versionOf = (row: Selectable<DeploymentTables["secret_version"]>): StoredVersion => ({
  environment: row.environment,
  name: row.name,
  version: Number(row.version),
  sealed: row.sealed ?? undefined,
  setBy: row.set_by,
  setAt: row.set_at,
});

/** As many there are in one environment. */
const MOST_SECRETS = 1_000;

async function refuseMany(trx: Transaction<DeploymentTables>, { environment, name }: SecretKey): Promise<void> {
  const { count } = await trx
    .selectFrom("secret")
    .select(({ fn }) => fn.countAll<string>().as("count"))
    .where("environment", "=", environment)
    .where("name", "<>", name)
    .where("removed_at", "is", null)
    .executeTakeFirstOrThrow();
  if (Number(count) < MOST_SECRETS) return;
  const message = `The environment "${environment}" has ${count} secrets, and ${MOST_SECRETS} are the most. Remove some that nothing uses: hms-sys secrets remove NAME -e ${environment}`;
  throw new HmsError("RESOURCE_EXHAUSTED", message, { reason: "TOO_MANY_SECRETS" });
}

/** Gives a secret its next version, whose value `seal` seals; makes the secret if there is none. @throws HmsError RESOURCE_EXHAUSTED */
export function addVersion(
  database: Pick<ServiceDatabase<DeploymentTables>, "transaction">,
  { environment, name, setBy }: SecretKey & { setBy: string },
  seal: (version: number) => Buffer,
): Promise<number> {
  return database.transaction(async (trx) => {
    await refuseMany(trx, { environment, name });
    const { next_version } = await trx
      .insertInto("secret")
      .values({ environment, name, next_version: "2" })
      .onConflict((conflict) =>
        conflict
          .columns(["environment", "name"])
          .doUpdateSet({ next_version: sql`secret.next_version + 1`, removed_at: null }),
      )
      .returning("next_version")
      .executeTakeFirstOrThrow();
    const version = Number(next_version) - 1;
    await trx
      .insertInto("secret_version")
      .values({ environment, name, version: String(version), sealed: seal(version), set_by: setBy })
      .execute();
    return version;
  });
}

/** A page of secrets that were not removed, by environment and name, as far as a condition lets them through. */
export async function readSecretPage(
  db: Queries,
  page: { environment: string; after: SecretKey | undefined; limit: number; where: RawBuilder<boolean> },
): Promise<SecretKey[]> {
  const { environment, after, limit, where } = page;
  return db
    .selectFrom("secret")
    .select(["environment", "name"])
    .where("removed_at", "is", null)
    .where(where)
    .$if(environment !== "", (query) => query.where("environment", "=", environment))
    .$if(after !== undefined, (query) =>
      query.where(sql<boolean>`(environment, name) > (${after?.environment}, ${after?.name})`),
    )
    .orderBy("environment")
    .orderBy("name")
    .limit(limit)
    .execute();
}

/** The names of an environment's secrets, at most 1000. */
export async function readSecretNames(db: Queries, environment: string): Promise<string[]> {
  const rows = await db
    .selectFrom("secret")
    .select("name")
    .where("environment", "=", environment)
    .where("removed_at", "is", null)
    .orderBy("name")
    .limit(1000)
    .execute();
  return rows.map(({ name }) => name);
}

/** The versions of some secrets that were not destroyed, newest first. */
export async function readVersions(db: Queries, keys: readonly SecretKey[]): Promise<StoredVersion[]> {
  if (keys.length === 0) return [];
  const rows = await db
    .selectFrom("secret_version")
    .selectAll()
    .where("sealed", "is not", null)
    .where(({ eb, refTuple, tuple }) =>
      eb(
        refTuple("environment", "name"),
        "in",
        keys.map(({ environment, name }) => tuple(environment, name)),
      ),
    )
    .orderBy("version", "desc")
    .execute();
  return rows.map(versionOf);
}

/** The versions that revisions were deployed with and that were not destroyed. */
export async function readDeployedVersions(db: Queries): Promise<StoredVersion[]> {
  const rows = await db
    .selectFrom("secret_version as v")
    .selectAll("v")
    .where("v.sealed", "is not", null)
    .where(
      sql<boolean>`exists (select from revision r where r.environment = v.environment
        and r.secrets ->> v.name = v.version::text)`,
    )
    .execute();
  return rows.map(versionOf);
}

/** The newest versions of secrets of an environment, by name; one that was removed has none. */
export async function newestVersions(
  db: Queries,
  environment: string,
  names: readonly string[],
): Promise<Map<string, number>> {
  if (names.length === 0) return new Map();
  const rows = await db
    .selectFrom("secret_version")
    .select(({ fn }) => ["name", fn.max("version").as("version")])
    .where("environment", "=", environment)
    .where("name", "in", [...names])
    .where("sealed", "is not", null)
    .groupBy("name")
    .execute();
  return new Map(rows.map(({ name, version }) => [name, Number(version)]));
}

/** The services of some environments whose current revision has secrets, by name. */
export async function readSecretUsers(db: Queries, environments: readonly string[]): Promise<SecretUser[]> {
  if (environments.length === 0) return [];
  const rows = await db
    .selectFrom("service as s")
    .innerJoin("revision as r", (join) =>
      join
        .onRef("r.environment", "=", "s.environment")
        .onRef("r.service", "=", "s.name")
        .onRef("r.revision", "=", "s.current_revision"),
    )
    .select(["s.environment", "s.name", "s.owner", "s.wanted", "s.asleep", "r.secrets"])
    .where("s.environment", "in", [...environments])
    .where(sql<boolean>`r.secrets <> '{}'`)
    .orderBy("s.name")
    .execute();
  return rows.map(({ name: service, ...row }) => ({ ...row, service }));
}

/**
 * Holds versions so that nobody destroys them before the transaction has ended; answers with those that were destroyed
 * already.
 */
export async function holdVersions(
  trx: Transaction<DeploymentTables>,
  environment: string,
  versions: SecretVersions,
): Promise<{ name: string; version: number }[]> {
  const names = Object.keys(versions);
  if (names.length === 0) return [];
  await trx
    .selectFrom("secret")
    .select("name")
    .where("environment", "=", environment)
    .where("name", "in", names)
    .orderBy("name")
    .forShare()
    .execute();
  const there = await readVersions(
    trx,
    names.map((name) => ({ environment, name })),
  );
  const wanted = Object.entries(versions).map(([name, version]) => ({ name, version }));
  return wanted.filter(({ name, version }) => !there.some((found) => found.name === name && found.version === version));
}

/** Destroys versions: what was sealed is gone, that there was something stays. */
export async function destroyVersions(
  trx: Transaction<DeploymentTables>,
  { environment, name }: SecretKey,
  versions: readonly number[],
): Promise<void> {
  if (versions.length === 0) return;
  await trx
    .updateTable("secret_version")
    .set({ sealed: null, destroyed_at: sql<Date>`clock_timestamp()` })
    .where("environment", "=", environment)
    .where("name", "=", name)
    .where("version", "in", versions.map(String))
    .execute();
}

/** Locks secrets of an environment against being deployed or destroyed meanwhile. */
export async function lockSecrets(
  trx: Transaction<DeploymentTables>,
  environment: string,
  names: readonly string[],
): Promise<void> {
  await trx
    .selectFrom("secret")
    .select("name")
    .where("environment", "=", environment)
    .where("name", "in", [...names])
    .orderBy("name")
    .forUpdate()
    .execute();
}
