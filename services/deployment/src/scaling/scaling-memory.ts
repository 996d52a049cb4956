import type { DailyUse } from "@hms/scaling";
import { type Kysely, sql } from "kysely";
import type { ServiceKey } from "../service-record.ts";
import type { DeploymentTables, ScalingNote } from "../tables.ts";

const MOST_NOTES = 20;

/** What a service's scaling remembers over restarts. */
export interface Remembered {
  use: DailyUse | undefined;
  /** Newest first. */
  decisions: ScalingNote[];
}

/** What is remembered of scaling, in the database. */
export class ScalingMemory {
  readonly #db: Kysely<DeploymentTables>;

  constructor(db: Kysely<DeploymentTables>) {
    this.#db = db;
  }

  async read({ environment, service }: ServiceKey): Promise<Remembered> {
    const row = await this.#db
      .selectFrom("scaling")
      .selectAll()
      .where("environment", "=", environment)
      .where("service", "=", service)
      .executeTakeFirst();
    return { use: row && { day: row.day, replicaMs: row.replica_ms }, decisions: row?.decisions ?? [] };
  }

  /** Several servers count the same day: the one that has seen most of it is right. */
  async noteUse({ environment, service }: ServiceKey, { day, replicaMs }: DailyUse): Promise<void> {
    await this.#db
      .insertInto("scaling")
      .values({ environment, service, day, replica_ms: replicaMs })
      .onConflict((conflict) =>
        conflict.columns(["environment", "service"]).doUpdateSet({
          day,
          replica_ms: sql<number>`case when scaling.day = ${day} then greatest(scaling.replica_ms, ${replicaMs}) else ${replicaMs} end`,
        }),
      )
      .execute();
  }

  /** Adds a change, and forgets the oldest beyond 20. */
  async noteDecision({ environment, service }: ServiceKey, note: ScalingNote): Promise<void> {
    const added = JSON.stringify([note]);
    await this.#db
      .insertInto("scaling")
      .values({ environment, service, decisions: added })
      .onConflict((conflict) =>
        conflict.columns(["environment", "service"]).doUpdateSet({
          decisions: sql`jsonb_path_query_array(${added}::jsonb || scaling.decisions, ${`$[0 to ${MOST_NOTES - 1}]`}::jsonpath)`,
        }),
      )
      .execute();
  }
}
