import { HmsError } from "@hms/kernel/errors";
import { sql } from "kysely";
import type { StoredError } from "./claimed-task.ts";
import type { Json } from "./json.ts";
import { type RunDatabase, rowsOf } from "./run-database.ts";

/** Where a run stands; the last four are its ends. */
export type RunState = "queued" | "running" | "succeeded" | "failed" | "cancelled" | "timed_out";

/** One node of a run, or one target of it. */
export interface NodeView {
  readonly node: string;
  /** Empty: the node itself. */
  readonly target: string;
  readonly state: string;
  readonly attempt: number;
  readonly output: Json;
  readonly error: StoredError | null;
  /** When its last attempt began; null: it has not begun. */
  readonly startedAt: Date | null;
  readonly endedAt: Date | null;
}

/** A run as it stands. */
export interface RunView {
  readonly id: string;
  readonly environment: string;
  readonly state: RunState;
  readonly isPaused: boolean;
  /** Why it was told to stop. */
  readonly stopReason: "cancelled" | "timed_out" | null;
  readonly nodes: readonly NodeView[];
}

interface RunRow {
  state: RunState;
  is_paused: boolean;
  stop_reason: RunView["stopReason"];
}

/** A run of an environment. @throws HmsError NOT_FOUND */
export async function readRun(database: RunDatabase, environment: string, id: string): Promise<RunView> {
  const [run] = await rowsOf(
    database,
    sql<RunRow>`select state, paused_at is not null as is_paused, stop_reason from run where id = ${id}::uuid and environment = ${environment}`,
  );
  if (!run) {
    throw new HmsError(
      "NOT_FOUND",
      `There is no run ${id} in the environment ${environment}. List its runs to see their ids.`,
      {
        reason: "NO_RUN",
      },
    );
  }
  const nodes = await rowsOf(
    database,
    sql<NodeView>`select node, target, state, attempt, output, error, started_at as "startedAt", ended_at as "endedAt" from task where run_id = ${id}::uuid order by node, target`,
  );
  return { id, environment, state: run.state, isPaused: run.is_paused, stopReason: run.stop_reason, nodes };
}
