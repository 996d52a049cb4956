import type { JsonValue } from "@bufbuild/protobuf";
import type { ServiceDatabase } from "@hms/postgres";
import { type Selectable, sql } from "kysely";
import type { RolloutRecord, ServiceKey } from "./records.ts";
import type { DeploymentTables } from "./tables.ts";

type Db = ServiceDatabase<DeploymentTables>["db"];

/** All SQL about rollouts and their events. */
export class RolloutStore {
  readonly #run: <T>(query: (db: Db) => Promise<T>) => Promise<T>;

  /** `run` runs an idempotent query, again while the database is away. */
  constructor(run: <T>(query: (db: Db) => Promise<T>) => Promise<T>) {
    this.#run = run;
  }

  async add(rollout: RolloutRecord): Promise<void> {
    const { rolloutId, environment, service, kind, state, wanted, principal, manifest, sourceDirectory } = rollout;
    await this.#run((db) =>
      db
        .insertInto("rollout")
        .values({
          rollout_id: rolloutId,
          environment,
          service,
          kind,
          state,
          revision: String(rollout.revision),
          previous_revision: String(rollout.previousRevision),
          wanted,
          previous_wanted: rollout.previousWanted,
          principal,
          manifest: manifest ? JSON.stringify(manifest) : null,
          source_directory: sourceDirectory ?? null,
          started_at: rollout.startedAt,
        })
        .onConflict((c) => c.doNothing())
        .execute(),
    );
  }

  async get(rolloutId: string): Promise<RolloutRecord | undefined> {
    const row = await this.#run((db) =>
      db.selectFrom("rollout").selectAll().where("rollout_id", "=", rolloutId).executeTakeFirst(),
    );
    return row && rolloutRecord(row);
  }

  /** Rollouts that have not ended, oldest first; of one service or of all. */
  async running(key?: ServiceKey): Promise<(RolloutRecord & { isLocked: boolean })[]> {
    const rows = await this.#run((db) => {
      const query = db
        .selectFrom("rollout")
        .selectAll()
        .where("ended_at", "is", null)
        .orderBy("started_at")
        .orderBy("rollout_id");
      return (
        key ? query.where("environment", "=", key.environment).where("service", "=", key.service) : query
      ).execute();
    });
    return rows.map((row) => ({ ...rolloutRecord(row), isLocked: row.owner !== null }));
  }

  async list(
    key: ServiceKey,
    before: { startedAt: Date; rolloutId: string } | undefined,
    limit: number,
  ): Promise<RolloutRecord[]> {
    const rows = await this.#run((db) => {
      let query = db
        .selectFrom("rollout")
        .selectAll()
        .where("environment", "=", key.environment)
        .where("service", "=", key.service);
      if (before)
        query = query.where(sql<boolean>`(started_at, rollout_id) < (${before.startedAt}, ${before.rolloutId})`);
      return query.orderBy("started_at", "desc").orderBy("rollout_id", "desc").limit(limit).execute();
    });
    return rows.map(rolloutRecord);
  }

  async set(
    rolloutId: string,
    change: Partial<
      Pick<
        RolloutRecord,
        "state" | "revision" | "previousRevision" | "wanted" | "previousWanted" | "releaseCommandDone"
      >
    > & { endedAt?: Date; failure?: JsonValue },
  ): Promise<void> {
    const { state, revision, previousRevision, wanted, previousWanted, releaseCommandDone, endedAt, failure } = change;
    const set = {
      ...(state === undefined ? {} : { state }),
      ...(revision === undefined ? {} : { revision: String(revision) }),
      ...(previousRevision === undefined ? {} : { previous_revision: String(previousRevision) }),
      ...(wanted === undefined ? {} : { wanted }),
      ...(previousWanted === undefined ? {} : { previous_wanted: previousWanted }),
      ...(releaseCommandDone === undefined ? {} : { release_command_done: releaseCommandDone }),
      ...(failure === undefined ? {} : { failure: JSON.stringify(failure) }),
      ...(endedAt === undefined ? {} : { ended_at: endedAt, owner: null, lease_until: null }),
    };
    await this.#run((db) => db.updateTable("rollout").set(set).where("rollout_id", "=", rolloutId).execute());
  }

  /** Takes or renews a rollout's lock on its service; false while another rollout or another living server has it. */
  async tryLock(rolloutId: string, owner: string, leaseMs: number): Promise<boolean> {
    const lease_until = sql<Date>`now() + ${leaseMs} * interval '1 millisecond'`;
    try {
      const result = await this.#run((db) =>
        db
          .updateTable("rollout")
          .set({ owner, lease_until })
          .where("rollout_id", "=", rolloutId)
          .where("ended_at", "is", null)
          .where((or) =>
            or.or([or("owner", "is", null), or("owner", "=", owner), or("lease_until", "<", sql<Date>`now()`)]),
          )
          .executeTakeFirst(),
      );
      return result.numUpdatedRows > 0n;
    } catch (error) {
      // The unique index says that another rollout of the service is driven.
      if ((error as { code?: string }).code === "ALREADY_EXISTS") return false;
      throw error;
    }
  }

  /** Gives a rollout's lock back; nothing happens if another server has it. */
  async unlock(rolloutId: string, owner: string): Promise<void> {
    await this.#run((db) =>
      db
        .updateTable("rollout")
        .set({ owner: null, lease_until: null })
        .where("rollout_id", "=", rolloutId)
        .where("owner", "=", owner)
        .execute(),
    );
  }

  async addEvent(rolloutId: string, sequence: bigint, event: JsonValue): Promise<void> {
    const values = { rollout_id: rolloutId, sequence: String(sequence), event: JSON.stringify(event) };
    await this.#run((db) =>
      db
        .insertInto("rollout_event")
        .values(values)
        .onConflict((c) => c.doNothing())
        .execute(),
    );
  }

  async events(rolloutId: string, after: bigint): Promise<{ sequence: bigint; event: JsonValue }[]> {
    const rows = await this.#run((db) =>
      db
        .selectFrom("rollout_event")
        .select(["sequence", "event"])
        .where("rollout_id", "=", rolloutId)
        .where("sequence", ">", String(after))
        .orderBy("sequence")
        .limit(500)
        .execute(),
    );
    return rows.map(({ sequence, event }) => ({ sequence: BigInt(sequence), event }));
  }

  async lastSequence(rolloutId: string): Promise<bigint> {
    const row = await this.#run((db) =>
      db
        .selectFrom("rollout_event")
        .select((e) => e.fn.max("sequence").as("last"))
        .where("rollout_id", "=", rolloutId)
        .executeTakeFirst(),
    );
    return BigInt(row?.last ?? 0);
  }
}

function rolloutRecord(row: Selectable<DeploymentTables["rollout"]>): RolloutRecord {
  const { environment, service, wanted, principal } = row;
  return {
    rolloutId: row.rollout_id,
    environment,
    service,
    kind: row.kind as RolloutRecord["kind"],
    state: row.state as RolloutRecord["state"],
    revision: BigInt(row.revision),
    previousRevision: BigInt(row.previous_revision),
    wanted,
    previousWanted: row.previous_wanted,
    principal,
    manifest: row.manifest ?? undefined,
    sourceDirectory: row.source_directory ?? undefined,
    releaseCommandDone: row.release_command_done,
    failureReason: (row.failure as { reason?: string } | null)?.reason ?? "",
    startedAt: row.started_at,
    endedAt: row.ended_at ?? undefined,
  };
}
