import type { RunContext, RunPrincipal } from "./claimed-task.ts";
import type { Effect } from "./graph.ts";
import type { Json } from "./json.ts";

/** One attempt of a step, as its executor sees it. */
export interface Step {
  /** What it does, as the graph names it. */
  readonly uses: string;
  /** What a lost worker leads to. */
  readonly effect: Effect;
  /** `with` of the node, its expressions replaced. */
  readonly input: Json;
  readonly run: RunContext;
  readonly node: string;
  /** The target's name and value, for nodes with targets. */
  readonly target?: { readonly name: string; readonly item: Json };
  /** 1 for the first. */
  readonly attempt: number;
  /** Attempts of this step that have failed; those that were lost with their worker do not count. */
  readonly failures: number;
  /** Grows with every attempt of this step: who stores effects by it can refuse those of an earlier one. */
  readonly fence: string;
  /** Aborted when the run is told to stop, the step's time is over, the worker closes, or its lease is lost. */
  readonly signal: AbortSignal;
  /** On whose behalf. */
  readonly principal: RunPrincipal;
  /**
   * Whether nobody else can have this step yet, by a clock that does not stop with the process. Ask right before what must not
   * be done twice, and throw if not: a process that stood still may be told of its lost lease only after that.
   */
  holds(): boolean;
  /** Adds a line to the step's log. */
  log(line: string): void;
}

/**
 * Does one attempt of a step. What it resolves to is the node's output (at most 64 KiB as JSON). It fails by throwing; an
 * HmsError that cannot pass by itself (INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, …) is not retried. One with the reason
 * STEP_UNKNOWN says that nobody can know whether it was done: the step is left as if its worker had been lost.
 */
export type StepExecutor = (step: Step) => Promise<unknown> | unknown;
