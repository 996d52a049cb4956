import { HmsError } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import type { Logger } from "@hms/telemetry";
import type { DeploymentRuntime } from "./ports.ts";
import type { RevisionRecord, ServiceKey, ServiceRecord } from "./service-record.ts";
import { readRevisions, readServices } from "./service-store.ts";
import type { DeploymentTables } from "./tables.ts";

type Database = ServiceDatabase<DeploymentTables>["db"];

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
    const kept = await keptRevisions(db, record);
    const keepDigests = [...new Set(kept.map(({ releaseDigest }) => releaseDigest))].filter((digest) => digest !== "");
    await runtime.pruneReleases({ environment, service, keepDigests });
  } catch (error) {
    log.warn("old releases were not deleted; it is tried after the next rollout", {
      service,
      error: HmsError.from(error),
    });
  }
}

/** The revisions of a service that can still run: those whose releases are kept, and those of rollouts that have not ended. */
export async function keptRevisions(db: Database, record: ServiceRecord): Promise<RevisionRecord[]> {
  const revisions = await readRevisions(db, record);
  const good = revisions.filter(({ outcome }) => outcome === "good").slice(-KEPT_GOOD);
  const others = [...(await goneBackFrom(db, record)), ...(await underWay(db, record))];
  const used = new Set([record.currentRevision, ...others, ...record.replicas.map(({ revision }) => revision)]);
  // The newest one may be tried again.
  return [...good, ...revisions.slice(-1), ...revisions.filter(({ revision }) => used.has(revision))];
}

/** What rollouts that have not ended lead to, and come from. */
async function underWay(db: Database, { environment, service }: ServiceKey): Promise<number[]> {
  const rows = await db
    .selectFrom("rollout")
    .select(["revision", "previous_revision"])
    .where("environment", "=", environment)
    .where("service", "=", service)
    .where("ended_at", "is", null)
    .execute();
  return rows.flatMap(({ revision, previous_revision: previous }) => [Number(revision), Number(previous)]);
}

async function goneBackFrom(db: Database, { environment, service }: ServiceKey): Promise<number[]> {
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
