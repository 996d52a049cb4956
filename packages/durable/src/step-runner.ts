import { HmsError } from "@hms/kernel/errors";
import type { ClaimedTask, RunContext, TaskOutcome } from "./claimed-task.ts";
import { type ExpressionScope, parseExpression } from "./expression.ts";
import { readsOf } from "./graph-check.ts";
import { type Json, toStoredJson } from "./json.ts";
import type { Step, StepExecutor } from "./step.ts";
import { failedOutcome, storedError } from "./step-failure.ts";
import { planTargets } from "./target-plan.ts";
import { renderTemplate } from "./template.ts";

/** Named moments of a step, for tests that break something there. */
export type StepMoment = "claimed" | "before-effect" | "after-effect";

/** What a worker's steps are run with. */
export interface StepRunnerOptions {
  readonly executors: { readonly [name: string]: StepExecutor };
  /** Called before each execution; throws if the principal may not do this. */
  readonly authorize?: ((step: Step) => Promise<void> | void) | undefined;
  /** Hears log lines. */
  readonly log?: ((task: ClaimedTask, line: string) => void) | undefined;
  readonly moment?: ((moment: StepMoment, task: ClaimedTask) => Promise<void> | void) | undefined;
  /** Starts the run that a node of kind "run" asks for; the same again gives the same. */
  readonly startRun: (task: ClaimedTask, run: RunContext, asked: Json) => Promise<void>;
  /** How long a step that was told to stop may go on. */
  readonly graceMs: number;
  /** Whether nobody else can have a task yet. */
  readonly holds: (task: ClaimedTask) => boolean;
  /** {state, output, error} of nodes that have ended, by name. */
  readonly results: (runId: string, nodes: readonly string[]) => Promise<{ [node: string]: Json }>;
}

/** Why a step's signal was aborted. */
export type StopReason = "cancelled" | "timed_out" | "lost" | "closing";

interface Beginning {
  task: ClaimedTask;
  run: RunContext;
  scope: ExpressionScope;
  signal: AbortSignal;
}

/** Runs claimed tasks, one attempt each. */
export class StepRunner {
  readonly #options: StepRunnerOptions;

  constructor(options: StepRunnerOptions) {
    this.#options = options;
  }

  /** Does a task and says what came of it; never throws. `signal`'s reason is a StopReason. */
  async run(task: ClaimedTask, run: RunContext, signal: AbortSignal): Promise<TaskOutcome> {
    await this.#options.moment?.("claimed", task);
    try {
      const scope = await this.#scope(task, run);
      // A target's node has decided for all of its targets.
      if (task.spec.if !== undefined && task.target === "" && !isTrue(task.spec.if, scope))
        return { outcome: "skipped" };
      return await this.#begin({ task, run, scope, signal });
    } catch (error) {
      // What failed after its lease may be somebody else's by now, and says nothing.
      if (!this.#options.holds(task)) return { outcome: "lost" };
      return stopped(signal, error) ?? failedOutcome(task, error);
    }
  }

  async #begin(parts: Beginning): Promise<TaskOutcome> {
    const { task, run, scope } = parts;
    const { kind = "step", timeout_ms, targets } = task.spec;
    const patience = timeout_ms === undefined ? {} : { delay_ms: timeout_ms };
    const shown = () =>
      toStoredJson(
        expressionsOf("with", () => renderTemplate(task.spec.with ?? null, scope)),
        `"with" of ${task.node}`,
      );
    if (kind === "wait") return { outcome: "waiting", wait_for: "time", ...patience };
    if (kind === "approval") return { outcome: "waiting", wait_for: "decision", output: shown(), ...patience };
    if (kind === "run") {
      await this.#options.startRun(task, run, JSON.parse(shown()));
      return { outcome: "waiting", wait_for: "run" };
    }
    if (targets && task.target === "") {
      const items = expressionsOf("targets.items", () => renderTemplate(targets.items as Json, scope));
      return { outcome: "waiting", wait_for: "targets", plan: planTargets(targets, items) };
    }
    return await this.#execute(parts);
  }

  async #scope(task: ClaimedTask, run: RunContext): Promise<ExpressionScope> {
    const reads = readsOf(task.spec);
    const nodes = reads.length > 0 ? await this.#options.results(run.id, reads) : {};
    return { inputs: run.inputs, run: { id: run.id, environment: run.environment }, nodes, target: task.item };
  }

  async #execute({ task, run, scope, signal }: Beginning): Promise<TaskOutcome> {
    const { uses = "", effect = "at_most_once", timeout_ms } = task.spec;
    const executor = executorFor(this.#options.executors, uses);
    if (!executor) throw unknownExecutor(uses, Object.keys(this.#options.executors));
    const input = expressionsOf("with", () => renderTemplate(task.spec.with ?? null, scope));
    const clock = timeout_ms === undefined ? undefined : AbortSignal.timeout(timeout_ms);
    const step: Step = {
      uses,
      effect,
      input,
      run,
      node: task.node,
      ...(task.target === "" ? {} : { target: { name: task.target, item: task.item } }),
      attempt: task.attempt,
      failures: task.failures,
      fence: task.fence,
      signal: clock ? AbortSignal.any([signal, clock]) : signal,
      principal: run.principal,
      holds: () => this.#options.holds(task),
      log: (line) => this.#options.log?.(task, line),
    };
    await this.#options.authorize?.(step);
    await this.#options.moment?.("before-effect", task);
    if (!this.#options.holds(task)) throw leaveTask();
    const output = await inTime(executor, step, { clock, stop: signal, graceMs: this.#options.graceMs });
    await this.#options.moment?.("after-effect", task);
    return { outcome: "succeeded", output: toStoredJson(output, `The output of ${task.node}`) } as const;
  }
}

/** By its name, or by the name of its family: "call/*" for all that begin with "call/". */
function executorFor(executors: StepRunnerOptions["executors"], uses: string): StepExecutor | undefined {
  const family = `${uses.slice(0, uses.indexOf("/") + 1)}*`;
  const name = [uses, family].find((each) => Object.hasOwn(executors, each));
  return name === undefined ? undefined : executors[name];
}

/** Thrown before the effect: nothing is stored, and the task is left to whoever finds its lease run out. */
export const leaveTask = (cause?: unknown): HmsError =>
  new HmsError("ABORTED", "The worker cannot go on with this task; it is left to others.", {
    reason: "TASK_LEFT",
    cause,
  });

interface Limits {
  clock: AbortSignal | undefined;
  stop: AbortSignal;
  graceMs: number;
}

/**
 * The executor's result; DEADLINE_EXCEEDED as soon as the step's time is over, and CANCELLED when it was told to stop and its
 * grace is over, whether it listens or not.
 */
async function inTime(executor: StepExecutor, step: Step, { clock, stop, graceMs }: Limits): Promise<unknown> {
  // Before the effect: a signal that was aborted while the step was being authorized tells nobody any more.
  if (clock?.aborted) throw tooLate(step);
  const late = Promise.withResolvers<never>();
  let grace: NodeJS.Timeout | undefined;
  const onLate = () => late.reject(tooLate(step));
  const onStop = () => {
    grace = setTimeout(() => late.reject(deaf(step)), graceMs);
  };
  clock?.addEventListener("abort", onLate, { once: true });
  if (stop.aborted) onStop();
  else stop.addEventListener("abort", onStop, { once: true });
  try {
    return await Promise.race([executor(step), late.promise]);
  } finally {
    clearTimeout(grace);
    clock?.removeEventListener("abort", onLate);
    stop.removeEventListener("abort", onStop);
  }
}

const deaf = ({ node }: Step) =>
  new HmsError("CANCELLED", `The step ${node} was told to stop and went on; nobody waits for it any more.`, {
    reason: "STEP_DEAF",
  });

const tooLate = ({ node }: Step) =>
  new HmsError(
    "DEADLINE_EXCEEDED",
    `The step ${node} was not done in its time (timeout_ms). Give it more, or less to do.`,
    {
      reason: "STEP_TIMEOUT",
    },
  );

const unknownExecutor = (uses: string, known: string[]) =>
  new HmsError(
    "UNIMPLEMENTED",
    `No worker of this queue knows "${uses}"; this one knows ${known.join(", ") || "nothing"}. Correct "uses", or the queue.`,
    { reason: "UNKNOWN_EXECUTOR" },
  );

/** What a step that was told to stop comes to. */
function stopped(signal: AbortSignal, error: unknown): TaskOutcome | undefined {
  const reason = error instanceof HmsError ? error.details.reason : undefined;
  if (reason === "TASK_LEFT") return { outcome: "lost" };
  if (reason === "STEP_UNKNOWN") return { outcome: "lost", mayBeDone: true };
  if (!signal.aborted) return undefined;
  if (signal.reason === "lost") return { outcome: "lost" };
  if (signal.reason === "closing") return { outcome: "released" };
  return { outcome: "cancelled", error: storedError(error) };
}

function isTrue(source: string, scope: ExpressionScope): boolean {
  const value = expressionsOf("if", () => parseExpression(source).evaluate(scope));
  if (typeof value === "boolean") return value;
  throw new HmsError(
    "INVALID_ARGUMENT",
    `The condition "${source}" gave ${JSON.stringify(value)}; it must give true or false.`,
    {
      reason: "EXPRESSION",
    },
  );
}

function expressionsOf<T>(field: string, evaluate: () => T): T {
  try {
    return evaluate();
  } catch (error) {
    throw new HmsError("INVALID_ARGUMENT", `An expression in "${field}" failed: ${(error as Error).message}`, {
      reason: "EXPRESSION",
      cause: error,
    });
  }
}
