import { HmsError } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import type { Logger } from "@hms/telemetry";
import { sql, type Transaction } from "kysely";
import { keptRevisions } from "../prune-releases.ts";
import { readServices } from "../service-store.ts";
import type { DeploymentTables } from "../tables.ts";
import { destroyVersions, lockSecrets, newestVersions, readVersions, type SecretKey } from "./secret-store.ts";
import type { SecretVault } from "./secret-vault.ts";

type Trx = Transaction<DeploymentTables>;

interface RetentionParts {
  database: ServiceDatabase<DeploymentTables>;
  vault: SecretVault;
  log: Logger;
}

/**
 * Destroys versions of an environment's secrets that nobody can need: neither the newest ones, nor those of a revision whose
 * release is kept, or that a rollout leads to. What fails is done after the next rollout.
 */
export async function pruneSecrets({ database, vault, log }: RetentionParts, environment: string): Promise<void> {
  try {
    const destroyed = await database.transaction((trx) => pruneIn(trx, environment));
    for (const { key, versions } of destroyed) vault.forget(key, versions);
  } catch (error) {
    log.warn("old versions of secrets were not destroyed; it is tried after the next rollout", {
      environment,
      error: HmsError.from(error),
    });
  }
}

async function pruneIn(trx: Trx, environment: string): Promise<{ key: SecretKey; versions: number[] }[]> {
  const old = await namesWithOldVersions(trx, environment);
  if (old.length === 0) return [];
  await lockSecrets(trx, environment, old);
  const keys = old.map((name) => ({ environment, name }));
  const [newest, needed] = [await newestVersions(trx, environment, old), await neededVersions(trx, environment)];
  const there = await readVersions(trx, keys);
  const destroyed = keys.map((key) => {
    const own = there.filter(({ name }) => name === key.name).map(({ version }) => version);
    const versions = own.filter((each) => each !== newest.get(key.name) && !needed.has(`${key.name}@${each}`));
    return { key, versions };
  });
  for (const { key, versions } of destroyed) await destroyVersions(trx, key, versions);
  return destroyed;
}

async function namesWithOldVersions(trx: Trx, environment: string): Promise<string[]> {
  const rows = await trx
    .selectFrom("secret_version")
    .select("name")
    .where("environment", "=", environment)
    .where("sealed", "is not", null)
    .groupBy("name")
    .having(({ fn }) => fn.countAll(), ">", 1)
    .execute();
  return rows.map(({ name }) => name);
}

/** "NAME@VERSION" of what revisions that can still run were deployed with. */
async function neededVersions(trx: Trx, environment: string): Promise<Set<string>> {
  const services = await trx
    .selectFrom("revision")
    .select("service")
    .distinct()
    .where("environment", "=", environment)
    .where(sql<boolean>`secrets <> '{}'`)
    .execute();
  const needed = new Set<string>();
  for (const { service } of services) {
    const [record] = await readServices(trx, { environment, service });
    for (const { secrets } of record ? await keptRevisions(trx, record) : []) {
      for (const [name, version] of Object.entries(secrets)) needed.add(`${name}@${version}`);
    }
  }
  return needed;
}
