import { HmsError } from "@hms/kernel/errors";
import { type RawBuilder, sql } from "kysely";
import type { RunPrincipal, StoredError } from "./claimed-task.ts";
import { type GraphNode, needsOf } from "./graph.ts";
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
  readonly kind: string;
  readonly uses: string;
  readonly queue: string;
  /** The nodes before it; none for targets. */
  readonly needs: readonly string[];
  readonly attempt: number;
  readonly output: Json;
  readonly error: StoredError | null;
  /** "retry", "time", "decision", "run" or "targets", while it waits. */
  readonly waitFor: string | null;
  /** When it is tried again, or its wait ends. */
  readonly dueAt: Date | null;
  /** When its last attempt began; null: it has not begun. */
  readonly startedAt: Date | null;
  readonly endedAt: Date | null;
}

/** What lists tell of a run. */
export interface RunSummary {
  readonly id: string;
  readonly environment: string;
  readonly state: RunState;
  readonly isPaused: boolean;
  /** Why it was told to stop. */
  readonly stopReason: "cancelled" | "timed_out" | null;
  readonly labels: { readonly [name: string]: string };
  readonly principal: RunPrincipal;
  /** The run that this one carries on. */
  readonly retryOf: string | null;
  /** The number of its last event. */
  readonly lastSeq: number;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly endedAt: Date | null;
}

/** A run as it stands. */
export interface RunView extends RunSummary {
  readonly inputs: { readonly [name: string]: Json };
  readonly nodes: readonly NodeView[];
}

/** The columns of a RunSummary. */
export const summaryColumns: RawBuilder<unknown> = sql`id, environment, state, paused_at is not null as "isPaused",
  stop_reason as "stopReason", labels, principal, retry_of as "retryOf", last_seq::float8 as "lastSeq", created_at as "createdAt",
  started_at as "startedAt", ended_at as "endedAt"`;

type NodeRow = Omit<NodeView, "needs" | "uses"> & { spec: GraphNode };

/** A run of an environment. @throws HmsError NOT_FOUND */
export async function readRun(database: RunDatabase, environment: string, id: string): Promise<RunView> {
  const [run] = await rowsOf(
    database,
    sql<
      Omit<RunView, "nodes">
    >`select ${summaryColumns}, inputs from run where id = ${id}::uuid and environment = ${environment}`,
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
    sql<NodeRow>`select node, target, state, kind, queue, attempt, output, error, wait_for as "waitFor", due_at as "dueAt",
      started_at as "startedAt", ended_at as "endedAt", spec from task where run_id = ${id}::uuid order by node, target`,
  );
  return { ...run, nodes: nodes.map(nodeView) };
}

const nodeView = ({ spec, ...row }: NodeRow): NodeView => ({
  ...row,
  uses: spec.uses ?? "",
  needs: row.target === "" ? needsOf(spec).map(({ node }) => node) : [],
});
