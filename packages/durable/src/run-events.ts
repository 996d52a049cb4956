import { sql } from "kysely";
import type { Json } from "./json.ts";
import { asJsonb, type RunDatabase, rowsOf } from "./run-database.ts";
import { type RunState, type RunSummary, summaryColumns } from "./run-view.ts";

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

/** Which runs, newest first. */
export interface ListOptions {
  readonly state?: RunState;
  /** Only those with each of these labels; null: whatever its value. */
  readonly labels?: { readonly [name: string]: string | null };
  /** Only runs before this one: the last id of the page before. */
  readonly before?: string;
  /** Default 50. */
  readonly limit?: number;
}

/** Runs of an environment, newest first. */
export function listRuns(
  database: RunDatabase,
  environment: string,
  { state, labels = {}, before, limit = 50 }: ListOptions = {},
): Promise<RunSummary[]> {
  const equal = Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== null));
  const present = Object.keys(labels).filter((name) => labels[name] === null);
  return rowsOf(
    database,
    sql<RunSummary>`select ${summaryColumns} from run
      where environment = ${environment} and (${state ?? null}::text is null or state = ${state ?? null})
        and (${before ?? null}::uuid is null or id < ${before ?? null}::uuid)
        and labels @> ${asJsonb(equal)} and labels ?& ${present}::text[]
      order by id desc limit ${limit}`,
  );
}

/** How far a run has come. */
export interface RunProgress {
  readonly id: string;
  readonly lastSeq: number;
  readonly hasEnded: boolean;
  /** Nodes and targets that are running now, at most 200, as [node, target, attempt]. */
  readonly running: readonly (readonly [string, string, number])[];
}

/** How far these runs have come; those that do not exist are left out. */
export const readProgress = (database: RunDatabase, ids: readonly string[]): Promise<RunProgress[]> =>
  rowsOf(
    database,
    sql<RunProgress>`select r.id, r.last_seq::float8 as "lastSeq", r.ended_at is not null as "hasEnded",
        case when r.ended_at is null then coalesce((
          select jsonb_agg(jsonb_build_array(t.node, t.target, t.attempt) order by t.node, t.target)
          from (select t.node, t.target, t.attempt from task t where t.run_id = r.id and t.state = 'running'
            order by t.node, t.target limit 200) t
        ), '[]') else '[]' end as running
      from run r where r.id = any (${ids}::uuid[])`,
  );
