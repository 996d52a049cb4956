import type { Manifest } from "@hms/manifest";
import { retryWhileUnavailable, type ServiceDatabase } from "@hms/postgres";
import { type Selectable, sql } from "kysely";
import type { ReplicaRecord, RevisionRecord, RolloutRecord, ServiceKey, ServiceRecord } from "./records.ts";
import { RolloutStore } from "./rollout-store.ts";
import type { DeploymentTables } from "./tables.ts";

/** A rollout waits this long for its database before it gives up; traffic is untouched meanwhile. */
const PATIENCE_MS = 10 * 60_000;

type Db = ServiceDatabase<DeploymentTables>["db"];

/** All SQL about services, revisions and replicas; waits while the database is away. */
export class DeploymentStore {
  readonly #database: ServiceDatabase<DeploymentTables>;
  readonly #patienceMs: number;
  /** The SQL about rollouts and their events. */
  readonly rollouts: RolloutStore;

  constructor(database: ServiceDatabase<DeploymentTables>, patienceMs = PATIENCE_MS) {
    this.#database = database;
    this.#patienceMs = patienceMs;
    this.rollouts = new RolloutStore((query) => this.run(query));
  }

  /** The same store for calls that a person waits for. */
  withPatience(ms: number): DeploymentStore {
    return new DeploymentStore(this.#database, ms);
  }

  /** Runs one idempotent query, again while the database is away. */
  run<T>(query: (db: Db) => Promise<T>): Promise<T> {
    return retryWhileUnavailable(() => query(this.#database.db), { deadlineMs: this.#patienceMs });
  }

  async ensureService({ environment, service }: ServiceKey): Promise<void> {
    await this.run((db) =>
      db
        .insertInto("service")
        .values({ environment, name: service, deployed_at: null })
        .onConflict((c) => c.doNothing())
        .execute(),
    );
  }

  async service({ environment, service }: ServiceKey): Promise<ServiceRecord | undefined> {
    const row = await this.run((db) =>
      db
        .selectFrom("service")
        .selectAll()
        .where("environment", "=", environment)
        .where("name", "=", service)
        .executeTakeFirst(),
    );
    return row && serviceRecord(row);
  }

  /** Services by environment and name, after a place in that order; environment "" is all. */
  async services(environment: string, after: ServiceKey | undefined, limit: number): Promise<ServiceRecord[]> {
    const rows = await this.run((db) => {
      let query = db.selectFrom("service").selectAll().where("last_revision", ">", "0");
      if (environment !== "") query = query.where("environment", "=", environment);
      if (after) query = query.where(sql<boolean>`(environment, name) > (${after.environment}, ${after.service})`);
      return query.orderBy("environment").orderBy("name").limit(limit).execute();
    });
    return rows.map(serviceRecord);
  }

  /** Names of an environment, for hints. */
  async serviceNames(environment: string): Promise<string[]> {
    const rows = await this.run((db) =>
      db.selectFrom("service").select("name").where("environment", "=", environment).limit(1000).execute(),
    );
    return rows.map(({ name }) => name);
  }

  async revision(key: ServiceKey, revision: bigint): Promise<RevisionRecord | undefined> {
    const row = await this.run((db) =>
      db
        .selectFrom("revision")
        .selectAll()
        .where("environment", "=", key.environment)
        .where("service", "=", key.service)
        .where("revision", "=", String(revision))
        .executeTakeFirst(),
    );
    return row && revisionRecord(row);
  }

  /** Good revisions, newest first, without the one named. */
  async goodRevisions(key: ServiceKey, without: bigint, limit: number): Promise<RevisionRecord[]> {
    const rows = await this.run((db) =>
      db
        .selectFrom("revision")
        .selectAll()
        .where("environment", "=", key.environment)
        .where("service", "=", key.service)
        .where("outcome", "=", "good")
        .where("revision", "<>", String(without))
        .orderBy("revision", "desc")
        .limit(limit)
        .execute(),
    );
    return rows.map(revisionRecord);
  }

  /** Gives a prepared deploy its revision, in the transaction that also notes it in the rollout; twice is once. */
  async addRevision(rollout: RolloutRecord, manifest: Manifest, releaseDigest: string): Promise<bigint> {
    const { environment, service, rolloutId } = rollout;
    return retryWhileUnavailable(
      () =>
        this.#database.transaction(async (trx) => {
          const known = await trx
            .selectFrom("rollout")
            .select("revision")
            .where("rollout_id", "=", rolloutId)
            .forUpdate()
            .executeTakeFirstOrThrow();
          if (known.revision !== "0") return BigInt(known.revision);
          const { last_revision: revision } = await trx
            .updateTable("service")
            .set({ last_revision: sql`last_revision + 1` })
            .where("environment", "=", environment)
            .where("name", "=", service)
            .returning("last_revision")
            .executeTakeFirstOrThrow();
          const text = JSON.stringify(manifest);
          await trx
            .insertInto("revision")
            .values({ environment, service, revision, manifest: text, release_digest: releaseDigest })
            .execute();
          await trx.updateTable("rollout").set({ revision }).where("rollout_id", "=", rolloutId).execute();
          return BigInt(revision);
        }),
      { deadlineMs: this.#patienceMs },
    );
  }

  async setOutcome(key: ServiceKey, revision: bigint, outcome: "good" | "bad"): Promise<void> {
    await this.run((db) =>
      db
        .updateTable("revision")
        .set({ outcome })
        .where("environment", "=", key.environment)
        .where("service", "=", key.service)
        .where("revision", "=", String(revision))
        .execute(),
    );
  }

  /** Changes what a service is to be. */
  async setService(
    key: ServiceKey,
    change: { revision?: bigint; trafficRevision?: bigint; wanted?: number; deployedAt?: Date },
  ): Promise<void> {
    const set = {
      ...(change.revision === undefined ? {} : { revision: String(change.revision) }),
      ...(change.trafficRevision === undefined ? {} : { traffic_revision: String(change.trafficRevision) }),
      ...(change.wanted === undefined ? {} : { wanted: change.wanted }),
      ...(change.deployedAt === undefined ? {} : { deployed_at: change.deployedAt }),
    };
    await this.run((db) =>
      db
        .updateTable("service")
        .set(set)
        .where("environment", "=", key.environment)
        .where("name", "=", key.service)
        .execute(),
    );
  }

  async removeService({ environment, service }: ServiceKey): Promise<void> {
    await this.run((db) =>
      db.deleteFrom("service").where("environment", "=", environment).where("name", "=", service).execute(),
    );
  }

  async replicas(key?: ServiceKey): Promise<ReplicaRecord[]> {
    const rows = await this.run((db) => {
      const query = db.selectFrom("replica").selectAll().orderBy("created_at").orderBy("replica_id");
      return (
        key ? query.where("environment", "=", key.environment).where("service", "=", key.service) : query
      ).execute();
    });
    return rows.map(replicaRecord);
  }

  async addReplicas(records: readonly ReplicaRecord[]): Promise<void> {
    const values = records.map(({ id, environment, service, revision, rolloutId, phase }) => ({
      replica_id: id,
      environment,
      service,
      revision: String(revision),
      rollout_id: rolloutId,
      phase,
    }));
    await this.run((db) =>
      db
        .insertInto("replica")
        .values(values)
        .onConflict((c) => c.doNothing())
        .execute(),
    );
  }

  /** Moves replicas to other phases in one transaction: traffic is given and taken in the same moment. */
  async setPhases(
    key: ServiceKey,
    change: { active: readonly string[]; draining: readonly string[]; trafficRevision?: bigint },
  ): Promise<void> {
    await retryWhileUnavailable(
      () =>
        this.#database.transaction(async (trx) => {
          for (const phase of ["active", "draining"] as const) {
            if (change[phase].length === 0) continue;
            await trx.updateTable("replica").set({ phase }).where("replica_id", "in", change[phase]).execute();
          }
          if (change.trafficRevision === undefined) return;
          const traffic_revision = String(change.trafficRevision);
          await trx
            .updateTable("service")
            .set({ traffic_revision })
            .where("environment", "=", key.environment)
            .where("name", "=", key.service)
            .execute();
        }),
      { deadlineMs: this.#patienceMs },
    );
  }

  async removeReplicas(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await this.run((db) => db.deleteFrom("replica").where("replica_id", "in", ids).execute());
  }
}

function serviceRecord(row: Selectable<DeploymentTables["service"]>): ServiceRecord {
  return {
    environment: row.environment,
    service: row.name,
    revision: BigInt(row.revision),
    trafficRevision: BigInt(row.traffic_revision),
    wanted: row.wanted,
    deployedAt: row.deployed_at ?? undefined,
  };
}

function revisionRecord(row: Selectable<DeploymentTables["revision"]>): RevisionRecord {
  const { environment, service, manifest, outcome } = row;
  return { environment, service, revision: BigInt(row.revision), manifest, releaseDigest: row.release_digest, outcome };
}

function replicaRecord(row: Selectable<DeploymentTables["replica"]>): ReplicaRecord {
  const { environment, service, phase } = row;
  return { id: row.replica_id, environment, service, revision: BigInt(row.revision), rolloutId: row.rollout_id, phase };
}
