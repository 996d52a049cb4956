import { sql } from "kysely";
import { type RunDatabase, rowsOf } from "./run-database.ts";
import type { LogPiece } from "./step-logs.ts";

/** A piece of the log of a whole run. */
export interface RunLogPiece extends LogPiece {
  readonly node: string;
  readonly target: string;
  /** When it was written, in microseconds since 1970: with node, target, attempt and seq its place in the run's log. */
  readonly atUs: string;
}

/** A place in the log of a whole run. */
export type RunLogCursor = Pick<RunLogPiece, "atUs" | "node" | "target" | "attempt" | "seq">;

/** Whose log, and from where on. */
export interface RunLogRequest {
  readonly runId: string;
  /** Only what comes behind it. */
  readonly after?: RunLogCursor;
  /** Nothing is written to it any more: nothing need be held back. Default false. */
  readonly isOver?: boolean;
  /** Pieces at most; default 200. */
  readonly limit?: number;
}

const BEGINNING: RunLogCursor = { atUs: "0", node: "", target: "", attempt: 0, seq: 0 };

/**
 * The log of all steps of a run behind a cursor, in the order in which it was written. What is written later is always behind
 * what was read: pieces are held back until no transaction that began before them can write an older one.
 */
export async function readRunLogs(
  database: RunDatabase,
  { runId, after = BEGINNING, isOver = false, limit = 200 }: RunLogRequest,
): Promise<RunLogPiece[]> {
  // Asked before the pieces are looked for: what was committed until then is seen.
  const horizon = isOver ? "infinity" : await horizonOf(database);
  const rows = await rowsOf(
    database,
    sql<Omit<RunLogPiece, "text"> & { bytes: Buffer }>`
      select node, target, attempt, seq, at, (extract(epoch from at) * 1000000)::bigint::text as "atUs", bytes from log_chunk
      where run_id = ${runId}::uuid and at < ${horizon}::timestamptz
        and (at, node, target, attempt, seq) > (to_timestamp(0) + ${after.atUs}::bigint * interval '1 microsecond',
          ${after.node}, ${after.target}, ${after.attempt}::int, ${after.seq}::int)
      order by at, node, target, attempt, seq limit ${limit}`,
  );
  return rows.map(({ bytes, ...piece }) => ({ ...piece, text: bytes.toString() }));
}

/** No transaction that is open now can write anything older than this. */
async function horizonOf(database: RunDatabase): Promise<string> {
  const [horizon] = await rowsOf(
    database,
    sql<{ at: string }>`select least(clock_timestamp(), min(xact_start))::text as at from pg_stat_activity
      where usename = current_user and datname = current_database() and pid <> pg_backend_pid() and xact_start is not null`,
  );
  return horizon?.at ?? "infinity";
}
