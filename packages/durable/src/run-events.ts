import { sql } from "kysely";
import type { Json } from "./json.ts";
import { type RunDatabase, rowsOf } from "./run-database.ts";
import type { RunState } from "./run-view.ts";

/** Something that has happened to a run. */
export interface RunEvent {
  /** Numbered from 1 without gaps. */
  readonly seq: number;
  readonly at: Date;
  /** "run.started", "node.succeeded", "target.failed", "node.lost", … */
  readonly type: string;
  readonly node: string | null;
  readonly target: string | null;
  readonly attempt: number | null;
  readonly data: Json;
}

/** Events of a run after a number, oldest first; at most `limit` (default 500). */
export const readEvents = (
  database: RunDatabase,
  runId: string,
  { since = 0, limit = 500 } = {},
): Promise<RunEvent[]> =>
  rowsOf(
    database,
    sql<RunEvent>`select seq::float8 as seq, at, type, node, target, attempt, data from event
      where run_id = ${runId}::uuid and seq > ${since} order by seq limit ${limit}`,
  );

/** A run in a list. */
export interface RunSummary {
  readonly id: string;
  readonly state: RunState;
  readonly createdAt: Date;
  readonly endedAt: Date | null;
}

/** Which runs, newest first. */
export interface ListOptions {
  readonly state?: RunState;
  /** Only runs before this one: the last id of the page before. */
  readonly before?: string;
  /** Default 50. */
  readonly limit?: number;
}

/** Runs of an environment, newest first. */
export const listRuns = (
  database: RunDatabase,
  environment: string,
  { state, before, limit = 50 }: ListOptions = {},
): Promise<RunSummary[]> =>
  rowsOf(
    database,
    sql<RunSummary>`select id, state, created_at as "createdAt", ended_at as "endedAt" from run
      where environment = ${environment} and (${state ?? null}::text is null or state = ${state ?? null})
        and (${before ?? null}::uuid is null or id < ${before ?? null}::uuid)
      order by id desc limit ${limit}`,
  );
