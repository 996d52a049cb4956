import type { GraphNode } from "./graph.ts";
import type { Json } from "./json.ts";

/** On whose behalf a run works, as it was stored. */
export interface RunPrincipal {
  readonly kind: string;
  readonly id: string;
  readonly [fact: string]: unknown;
}

/** What the steps of a run have in common. */
export interface RunContext {
  readonly id: string;
  readonly environment: string;
  readonly inputs: { readonly [name: string]: Json };
  readonly principal: RunPrincipal;
}

/** A task that this worker has claimed. */
export interface ClaimedTask {
  readonly runId: string;
  readonly node: string;
  /** Empty: the node itself. */
  readonly target: string;
  readonly item: Json;
  /** Times it was claimed, this one included. */
  readonly attempt: number;
  /** Attempts that have failed. */
  readonly failures: number;
  /** Grows with every claim of this task. */
  readonly fence: string;
  readonly spec: GraphNode;
  /** How many nodes come right after it. */
  readonly followers: number;
}

/** A failure as it is stored. */
export interface StoredError {
  readonly code: string;
  readonly message: string;
  readonly reason?: string;
}

/** What came of a task. */
export type TaskOutcome =
  | { outcome: "succeeded"; output: string }
  | { outcome: "failed"; error: StoredError }
  | { outcome: "retry"; error: StoredError; delay_ms: number }
  | { outcome: "skipped" | "cancelled" | "released"; error?: StoredError }
  /** Nothing is stored: whoever finds the lease run out decides. */
  | { outcome: "lost"; mayBeDone?: true }
  | { outcome: "waiting"; wait_for: "time" | "decision" | "run"; delay_ms?: number; output?: string }
  | { outcome: "waiting"; wait_for: "targets"; plan: TargetPlan };

/** The targets of a node, frozen. */
export interface TargetPlan {
  readonly targets: readonly { readonly target: string; readonly item: Json; readonly batch: number }[];
  readonly batches: number;
  readonly max_fail: number;
  readonly pause_ms: number;
  readonly on_threshold: "stop" | "pause";
}

/** One row that settle() gives: a claim; without a node a run that has ended; without a run that more is ready. */
export interface SettleRow {
  run_id: string | null;
  node: string | null;
  target: string;
  attempt: number;
  failures: number;
  fence: string;
  followers: number;
  spec: GraphNode;
  item: Json;
  state: string;
  environment: string | null;
  inputs: RunContext["inputs"];
  principal: RunPrincipal;
}
