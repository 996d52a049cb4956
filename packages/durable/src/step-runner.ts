import { HmsError } from "@hms/kernel/errors";
import type { ClaimedTask, RunContext, TaskOutcome } from "./claimed-task.ts";
import { type ExpressionScope, parseExpression } from "./expression.ts";
import { readsOf } from "./graph-check.ts";
import { type Json, toStoredJson } from "./json.ts";
import type { Step, StepExecutor } from "./step.ts";
import { failedOutcome, storedError } from "./step-failure.ts";
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
  /** Whether nobody else can have a task yet. */
  readonly holds: (task: ClaimedTask) => boolean;
  /** {state, output, error} of nodes that have ended, by name. */
  readonly results: (runId: string, nodes: readonly string[]) => Promise<{ [node: string]: Json }>;
}

/** Why a step's signal was aborted. */
export type StopReason = "cancelled" | "timed_out" | "lost" | "closing";

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
      return await this.#execute({ task, run, scope, signal });
    } catch (error) {
      return stopped(signal, error) ?? failedOutcome(task, error);
    }
  }

  async #scope(task: ClaimedTask, run: RunContext): Promise<ExpressionScope> {
    const reads = readsOf(task.spec);
    const nodes = reads.length > 0 ? await this.#options.results(run.id, reads) : {};
    return { inputs: run.inputs, run: { id: run.id, environment: run.environment }, nodes, target: task.item };
  }

  async #execute({
    task,
    run,
    scope,
    signal,
  }: {
    task: ClaimedTask;
    run: RunContext;
    scope: ExpressionScope;
    signal: AbortSignal;
  }) {
    const { uses = "", timeout_ms } = task.spec;
    const executor = Object.hasOwn(this.#options.executors, uses) ? this.#options.executors[uses] : undefined;
    if (!executor) throw unknownExecutor(uses, Object.keys(this.#options.executors));
    const input = expressionsOf("with", () => renderTemplate(task.spec.with ?? null, scope));
    const clock = timeout_ms === undefined ? undefined : AbortSignal.timeout(timeout_ms);
    const step: Step = {
      input,
      run,
      node: task.node,
      ...(task.target === "" ? {} : { target: { name: task.target, item: task.item } }),
      attempt: task.attempt,
      failures: task.failures,
      fence: task.fence,
      signal: clock ? AbortSignal.any([signal, clock]) : signal,
      principal: run.principal,
      log: (line) => this.#options.log?.(task, line),
    };
    await this.#options.authorize?.(step);
    await this.#options.moment?.("before-effect", task);
    if (!this.#options.holds(task)) throw leaveTask();
    const output = await inTime(executor, step, clock);
    await this.#options.moment?.("after-effect", task);
    return { outcome: "succeeded", output: toStoredJson(output, `The output of ${task.node}`) } as const;
  }
}

/** Thrown before the effect: nothing is stored, and the task is left to whoever finds its lease run out. */
export const leaveTask = (cause?: unknown): HmsError =>
  new HmsError("ABORTED", "The worker cannot go on with this task; it is left to others.", {
    reason: "TASK_LEFT",
    cause,
  });

/** The executor's result, or DEADLINE_EXCEEDED as soon as the step's time is over, whether it listens or not. */
async function inTime(executor: StepExecutor, step: Step, clock: AbortSignal | undefined): Promise<unknown> {
  if (!clock) return await executor(step);
  const late = Promise.withResolvers<never>();
  const onLate = () => late.reject(tooLate(step));
  clock.addEventListener("abort", onLate, { once: true });
  try {
    return await Promise.race([executor(step), late.promise]);
  } finally {
    clock.removeEventListener("abort", onLate);
  }
}

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
  if (error instanceof HmsError && error.details.reason === "TASK_LEFT") return { outcome: "lost" };
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
