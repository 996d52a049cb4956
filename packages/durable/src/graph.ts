import type { Json } from "./json.ts";

/** When an edge lets its node begin: the node before it has succeeded, has failed, or has ended at all. */
export type EdgeCondition = "success" | "failure" | "always";

/** An edge: the node before, and on which of its ends. */
export interface Need {
  readonly node: string;
  /** Default "success". */
  readonly on?: EdgeCondition;
}

/** How often a failed step is tried again. */
export interface RetryPolicy {
  /** Attempts that may fail, the first included: 1 to 100. */
  readonly max: number;
  /** Default "exponential": each pause is twice the one before. */
  readonly backoff?: "fixed" | "exponential";
  /** The first pause; default 1000. */
  readonly initial_ms?: number;
  /** The longest pause; default 300 000. */
  readonly max_delay_ms?: number;
}

/** The most targets that a node can have. */
export const MOST_TARGETS = 10_000;

/** Many targets of one node, in batches. */
export interface FanOut {
  /** A list of JSON values, or one expression `${{ … }}` that gives one; at most 10 000. */
  readonly items: readonly Json[] | string;
  /** Targets of a batch: a number or "25%"; default all at once. */
  readonly batch?: number | string;
  /** Targets of a batch before the others. */
  readonly canary?: number;
  /** How many may fail: a number or "10%"; default 0. */
  readonly max_fail?: number | string;
  /** Pause between two batches; default 0. */
  readonly pause_ms?: number;
  /** What happens when more fail: the node fails (the default), or it waits for a decision. */
  readonly on_threshold?: "stop" | "pause";
}

/** What happens if it cannot be known whether a step was done: it is done again, carried on, or somebody decides. */
export type Effect = "idempotent" | "resumable" | "at_most_once";

/** One node of a graph. */
export interface GraphNode {
  /** Default "step". An approval and a wait hold no worker; "run" is a run of its own. */
  readonly kind?: "step" | "approval" | "wait" | "run";
  /** Nodes that come before. */
  readonly needs?: readonly (string | Need)[];
  /** How many edges must be satisfied: "all" (default), "any", or a number. */
  readonly join?: "all" | "any" | { readonly n: number };
  /** CEL over `inputs`, `nodes` and `run`; false skips the node. */
  readonly if?: string;
  /** The executor, for steps. */
  readonly uses?: string;
  /** What the executor gets; texts may hold expressions `${{ CEL }}`. */
  readonly with?: Json;
  readonly retry?: RetryPolicy;
  /** How long an attempt, a wait or an approval may take. */
  readonly timeout_ms?: number;
  /** Required for steps: it decides what a crash may repeat. */
  readonly effect?: Effect;
  readonly targets?: FanOut;
  /** Default "default". */
  readonly queue?: string;
  /** Higher goes first, -100 to 100; default that of the run. */
  readonly priority?: number;
  /** Runs after all others, whatever came of them, also when the run is cancelled. */
  readonly finally?: boolean;
  /** A failure of this node does not make the run fail. */
  readonly allow_failure?: boolean;
}

/** What a run does: nodes by their names. */
export interface RunGraph {
  readonly nodes: { readonly [name: string]: GraphNode };
}

/** The edges into a node, with their conditions. */
export const needsOf = ({ needs = [] }: GraphNode): Required<Need>[] =>
  needs.map((need) => (typeof need === "string" ? { node: need, on: "success" } : { on: "success", ...need }));

/** How many edges into a node must be satisfied. */
export function needCount(node: GraphNode): number {
  const { join = "all" } = node;
  const edges = node.needs?.length ?? 0;
  if (edges === 0) return 0;
  if (join === "all") return edges;
  return join === "any" ? 1 : join.n;
}
