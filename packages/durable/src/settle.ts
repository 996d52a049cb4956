import { HmsError } from "@hms/kernel/errors";
import { translatePgError } from "@hms/postgres";
import { sql } from "kysely";
import type { ClaimedTask, SettleRow, TaskOutcome } from "./claimed-task.ts";
import { type RunDatabase, rowsOf } from "./run-database.ts";

/** What came of one task. */
export interface SettleEntry {
  readonly task: ClaimedTask;
  readonly fence: string;
  readonly outcome: TaskOutcome;
}

/** One turn of a worker. */
export interface Turn {
  readonly worker: string;
  readonly results: readonly SettleEntry[];
  readonly queues: readonly string[];
  /** Tasks to claim at most. */
  readonly slots: number;
  readonly leaseMs: number;
}

/** An entry as JSON; its output is JSON already. */
function entryJson({ task, fence, outcome }: SettleEntry): string {
  const { output, ...rest } = { output: undefined, ...outcome };
  const head = JSON.stringify({ run_id: task.runId, node: task.node, target: task.target, fence, ...rest });
  return output === undefined ? head : `${head.slice(0, -1)},"output":${output}}`;
}

/**
 * Stores results and claims tasks, in one commit; the claims, and runs that have ended.
 * @throws HmsError UNAVAILABLE, ABORTED, … if it may or may not have been done: the same turn can be repeated.
 */
export async function settleTurn(database: RunDatabase, turn: Turn): Promise<SettleRow[]> {
  const done = `[${turn.results.map(entryJson).join(",")}]`;
  try {
    return await rowsOf(
      database,
      sql<SettleRow>`select * from settle(${turn.worker}, ${done}::jsonb, ${turn.queues}::text[], ${turn.slots}, ${turn.leaseMs})`,
    );
  } catch (error) {
    throw error instanceof HmsError ? error : translatePgError(error);
  }
}
