import { HmsError } from "@hms/kernel/errors";
import { translatePgError } from "@hms/postgres";
import type { ClaimedTask, SettleRow, StoredError, TaskOutcome } from "./claimed-task.ts";
import type { RunDatabase } from "./run-database.ts";

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
  /** Whether to look for others than those that become ready by this turn. */
  readonly look: boolean;
  readonly leaseMs: number;
}

/** What only some outcomes have: {delay_ms, wait_for, plan}. */
function detailOf({ outcome: _, output: __, error: ___, ...detail }: TaskOutcome & StoredParts): string | null {
  for (const _any in detail) return JSON.stringify(detail);
  return null;
}

interface StoredParts {
  output?: string;
  error?: StoredError;
}

const SETTLE = {
  name: "durable.settle",
  text: `select * from settle($1, $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11, $12, $13)`,
};

/**
 * Stores results and claims tasks, in one commit; the claims, and runs that have ended.
 * @throws HmsError UNAVAILABLE, ABORTED, … if it may or may not have been done: the same turn can be repeated.
 */
export async function settleTurn(database: RunDatabase, turn: Turn): Promise<SettleRow[]> {
  const { worker, results, queues, slots, look, leaseMs } = turn;
  const of = <T>(pick: (entry: SettleEntry) => T) => results.map(pick);
  const parts = results.map(({ outcome }): TaskOutcome & StoredParts => outcome);
  const errors = parts.map(({ error }) => (error === undefined ? null : JSON.stringify(error)));
  try {
    const parameters = [
      worker,
      of(({ task }) => task.runId),
      of(({ task }) => task.node),
      of(({ task }) => task.target),
      of(({ fence }) => fence),
      parts.map(({ outcome }) => outcome),
      parts.map(({ output = null }) => output),
      errors,
      parts.map(detailOf),
      queues,
      slots,
      look,
      leaseMs,
    ];
    return await database.prepared<SettleRow>(SETTLE, parameters);
  } catch (error) {
    throw error instanceof HmsError ? error : translatePgError(error);
  }
}
