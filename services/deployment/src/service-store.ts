import { type Kysely, type RawBuilder, type Selectable, sql } from "kysely";
import type { ReplicaRecord, RevisionRecord, RunningRollout, ServiceKey, ServiceRecord } from "./service-record.ts";
import type { DeploymentTables } from "./tables.ts";

type Database = Kysely<DeploymentTables>;
type Row<Table extends keyof DeploymentTables> = Selectable<DeploymentTables[Table]>;

/** A revision as the product's other parts use it. */
function revisionRecord(row: Row<"revision">): RevisionRecord {
  return {
    revision: Number(row.revision),
    manifest: row.manifest,
    sourceDirectory: row.source_directory,
    releaseDigest: row.release_digest,
    outcome: row.outcome,
    createdAt: row.created_at,
    tag: row.tag,
    secrets: row.secrets,
  };
}

function replicaRecord(row: Row<"replica">): ReplicaRecord {
  const { replica_id: id, ordinal, traffic, proven } = row;
  const phase = row.phase === "running" ? "running" : "stopping";
  return { id, revision: Number(row.revision), ordinal, phase, traffic, proven };
}

function runningRollout(row: Row<"rollout">): RunningRollout {
  return { rolloutId: row.rollout_id, kind: row.kind, phase: row.phase, since: row.started_at };
}

const keyOf = (row: { environment: string; service: string }) => `${row.environment}/${row.service}`;

function grouped<T extends { environment: string; service: string }>(rows: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const row of rows) {
    const group = groups.get(keyOf(row));
    if (group) group.push(row);
    else groups.set(keyOf(row), [row]);
  }
  return groups;
}

/** A page of services by environment and name, of one environment or of all (""), as far as a condition lets them through. */
export async function readServicePage(
  db: Database,
  page: { environment: string; after: ServiceKey | undefined; limit: number; where: RawBuilder<boolean> },
): Promise<ServiceRecord[]> {
  const { environment, after, limit, where } = page;
  const services = await db
    .selectFrom("service")
    .selectAll()
    .where(where)
    .$if(environment !== "", (query) => query.where("environment", "=", environment))
    .$if(after !== undefined, (query) =>
      query.where(sql<boolean>`(environment, name) > (${after?.environment}, ${after?.service})`),
    )
    .orderBy("environment")
    .orderBy("name")
    .limit(limit)
    .execute();
  return withParts(db, services);
}

/** The names of an environment's services and whose they are, for hints; at most 1000. */
export function readServiceNames(db: Database, environment: string): Promise<{ name: string; owner: string }[]> {
  const names = db.selectFrom("service").select(["name", "owner"]).where("environment", "=", environment);
  return names.limit(1000).execute();
}

/** Reads one service, or all. `also` names a revision wanted beside those in use. */
export async function readServices(db: Database, key?: ServiceKey, also = 0): Promise<ServiceRecord[]> {
  const services = await db
    .selectFrom("service")
    .selectAll()
    .$if(key !== undefined, (query) =>
      query.where("environment", "=", key?.environment ?? "").where("name", "=", key?.service ?? ""),
    )
    .execute();
  return withParts(db, services, { key, also });
}

async function withParts(
  db: Database,
  services: readonly Row<"service">[],
  { key, also = 0 }: { key?: ServiceKey | undefined; also?: number } = {},
): Promise<ServiceRecord[]> {
  const { environment = "", service = "" } = key ?? {};
  const one = key !== undefined;
  const replicas = await db
    .selectFrom("replica")
    .selectAll()
    .where("phase", "<>", "gone")
    .$if(one, (query) => query.where("environment", "=", environment).where("service", "=", service))
    .orderBy("ordinal")
    .execute();
  const rollouts = await db
    .selectFrom("rollout")
    .selectAll()
    .where("ended_at", "is", null)
    .$if(one, (query) => query.where("environment", "=", environment).where("service", "=", service))
    .orderBy("position")
    .execute();
  const replicasOf = grouped(replicas);
  const rolloutsOf = grouped(rollouts);
  const records = services.map((row) => {
    const own = { environment: row.environment, service: row.name };
    return serviceRecord(row, replicasOf.get(keyOf(own)) ?? [], rolloutsOf.get(keyOf(own))?.[0]);
  });
  return withRevisions(db, records, also);
}

function serviceRecord(
  row: Row<"service">,
  replicas: readonly Row<"replica">[],
  running: Row<"rollout"> | undefined,
): ServiceRecord {
  return {
    environment: row.environment,
    service: row.name,
    owner: row.owner,
    currentRevision: Number(row.current_revision),
    trafficRevision: Number(row.traffic_revision),
    wanted: row.wanted,
    scaledTo: row.scaled_to ?? undefined,
    asleep: row.asleep,
    split: row.split ?? undefined,
    deployedAt: row.deployed_at ?? undefined,
    replicas: replicas.map(replicaRecord),
    revisions: new Map(),
    running: running && runningRollout(running),
  };
}

async function withRevisions(db: Database, records: ServiceRecord[], also: number): Promise<ServiceRecord[]> {
  const wanted = records.flatMap(({ environment, service, currentRevision, trafficRevision, replicas }) => {
    const numbers = new Set([also, currentRevision, trafficRevision, ...replicas.map(({ revision }) => revision)]);
    return [...numbers].filter((number) => number > 0).map((revision) => ({ environment, service, revision }));
  });
  if (wanted.length === 0) return records;
  const rows = await db
    .selectFrom("revision")
    .selectAll()
    .where(({ eb, refTuple, tuple }) =>
      eb(
        refTuple("environment", "service", "revision"),
        "in",
        wanted.map(({ environment, service, revision }) => tuple(environment, service, String(revision))),
      ),
    )
    .execute();
  const revisionsOf = grouped(rows);
  return records.map((record) => {
    const own = revisionsOf.get(keyOf(record)) ?? [];
    return { ...record, revisions: new Map(own.map((row) => [Number(row.revision), revisionRecord(row)])) };
  });
}

/** Every revision of a service, oldest first. */
export async function readRevisions(db: Database, { environment, service }: ServiceKey): Promise<RevisionRecord[]> {
  const rows = await db
    .selectFrom("revision")
    .selectAll()
    .where("environment", "=", environment)
    .where("service", "=", service)
    .orderBy("revision")
    .execute();
  return rows.map(revisionRecord);
}

/** Of every service, the newest revisions that served well, at most `limit` each. */
export async function readGoodRevisions(
  db: Database,
  limit: number,
): Promise<(RevisionRecord & { environment: string; service: string })[]> {
  const rows = await db
    .selectFrom("revision")
    .selectAll()
    .where("outcome", "=", "good")
    .where(
      sql<boolean>`revision in (select r.revision from revision r
        where (r.environment, r.service) = (revision.environment, revision.service) and r.outcome = 'good'
        order by r.revision desc limit ${limit})`,
    )
    .orderBy("revision")
    .execute();
  return rows.map((row) => ({ environment: row.environment, service: row.service, ...revisionRecord(row) }));
}

/** A page of a service's rollouts, newest first, from before a position on. */
export function readRollouts(
  db: Database,
  { environment, service, before, limit }: ServiceKey & { before: string | undefined; limit: number },
) {
  return db
    .selectFrom("rollout")
    .selectAll()
    .where("environment", "=", environment)
    .where("service", "=", service)
    .$if(before !== undefined, (query) => query.where("position", "<", before ?? "0"))
    .orderBy("position", "desc")
    .limit(limit)
    .execute();
}

/** Notes which process of a replica has passed its health checks. */
export async function noteProven(
  db: Database,
  { environment, id, proven }: { environment: string; id: string; proven: string },
): Promise<void> {
  await db
    .updateTable("replica")
    .set({ proven })
    .where("environment", "=", environment)
    .where("replica_id", "=", id)
    .execute();
}

/** Notes that a replica that was to go has gone. */
export async function noteGone(db: Database, environment: string, id: string): Promise<void> {
  await db
    .updateTable("replica")
    .set({ phase: "gone", changed_at: new Date() })
    .where("environment", "=", environment)
    .where("replica_id", "=", id)
    .where("phase", "=", "stopping")
    .execute();
}

/** The ids of every replica the service had whose logs may still be there. */
export async function replicaIds(db: Database, { environment, service }: ServiceKey): Promise<string[]> {
  const rows = await db
    .selectFrom("replica")
    .select("replica_id")
    .where("environment", "=", environment)
    .where("service", "=", service)
    .execute();
  return rows.map((row) => row.replica_id);
}
