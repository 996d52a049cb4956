import { HmsError } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import type { Logger } from "@hms/telemetry";
import type { DeploymentRuntime } from "./ports.ts";
import type { ServiceKey } from "./service-record.ts";
import { readRevisions, readServices } from "./service-store.ts";
import type { DeploymentTables } from "./tables.ts";

/** As many revisions can be gone back to. */
const KEPT_GOOD = 5;

/**
 * Deletes releases nobody can need: what serves, what a rollout still leads to, the newest revision, the last five that
 * served well, and the last five that were gone back from (somebody may want them after all) stay. What fails is done after the next rollout.
 */
export async function pruneReleases(
  { db, runtime, log }: { db: ServiceDatabase<DeploymentTables>["db"]; runtime: DeploymentRuntime; log: Logger },
  { environment, service }: ServiceKey,
): Promise<void> {
  try {
    const [record] = await readServices(db, { environment, service });
    if (record === undefined || record.running) return;
    const revisions = await readRevisions(db, record);
    const good = revisions.filter(({ outcome }) => outcome === "good").slice(-KEPT_GOOD);
    const left = await goneBackFrom(db, { environment, service });
    const used = new Set([record.currentRevision, ...left, ...record.replicas.map(({ revision }) => revision)]);
    // The newest one may be tried again.
    const kept = [...good, ...revisions.slice(-1), ...revisions.filter(({ revision }) => used.has(revision))];
    const keepDigests = [...new Set(kept.map(({ releaseDigest }) => releaseDigest))].filter((digest) => digest !== "");
    await runtime.pruneReleases({ environment, service, keepDigests });
  } catch (error) {
    log.warn("old releases were not deleted; it is tried after the next rollout", {
      service,
      error: HmsError.from(error),
    });
  }
}

async function goneBackFrom(
  db: ServiceDatabase<DeploymentTables>["db"],
  { environment, service }: ServiceKey,
): Promise<number[]> {
  const rows = await db
    .selectFrom("rollout")
    .select("previous_revision")
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where("kind", "=", "rollback")
    .where("phase", "=", "succeeded")
    .orderBy("position", "desc")
    .limit(KEPT_GOOD)
    .execute();
  return rows.map(({ previous_revision: revision }) => Number(revision));
}
