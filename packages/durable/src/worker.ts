import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel/errors";
import { retryWhileUnavailable } from "@hms/postgres";
import { sql } from "kysely";
import type { ClaimedTask, RunContext, SettleRow, TaskOutcome } from "./claimed-task.ts";
import type { RunGraph } from "./graph.ts";
import type { Json } from "./json.ts";
import { rowsOf } from "./run-database.ts";
import { type RefusedResult, type SettleEntry, settle } from "./settle.ts";
import { type ClaimRoom, type StartClaim, type StartRequest, startRuns } from "./start-run.ts";
import { StepLogs } from "./step-logs.ts";
import { leaveTask, StepRunner, type StopReason } from "./step-runner.ts";
import { Upkeep } from "./upkeep.ts";
import type { WorkerHost, WorkerOptions } from "./worker-options.ts";

interface RunningTask {
  readonly task: ClaimedTask;
  readonly abort: AbortController;
}

/** A database that is away for longer has let the leases run out. */
const LONGEST_READ_MS = 60_000;
const DEFAULT_LOG_DAYS = 30;
const DEFAULT_RUN_DAYS = 90;
const RETRY_PAUSE_MS = 100;
/** How long a closing worker waits for its steps; what they do then is found by their leases. */
const GRACE_MS = 5000;
/** Turns on their way at once: while one is in the database, the steps of the next are done. */
const MOST_TURNS = 2;

/** Claims and does steps; disposing it tells them to stop, and gives back what has not ended. */
export class Worker implements AsyncDisposable {
  readonly id = `${process.pid}-${randomUUID()}`;
  readonly #host: WorkerHost;
  readonly #options: Required<Pick<WorkerOptions, "queues" | "concurrency" | "leaseMs" | "pollMs" | "onFailure">> &
    WorkerOptions;
  readonly #runner: StepRunner;
  readonly #running = new Map<string, RunningTask>();
  readonly #runs = new Map<string, { context: RunContext; tasks: number }>();
  readonly #upkeep: Upkeep;
  readonly #logs: StepLogs;
  readonly #closed = Promise.withResolvers<void>();
  #results: SettleEntry[] = [];
  #turns = 0;
  #reserved = 0;
  /** Tasks that have ended and are being stored. */
  #settling = 0;
  #isScheduled = false;
  #mayHaveMore = true;
  #isClosing = false;
  #isAbandoned = false;
  /** Questions for lost claims that are on their way, and what has ended since the first of them. */
  #adoptions = 0;
  readonly #endedMeanwhile = new Set<string>();
  readonly #adopted = new Set<string>();
  /** What may have been done is not begun again here: it is left until its lease has run out. */
  readonly #left = new Set<string>();
  #poll: NodeJS.Timeout | undefined;

  constructor(host: WorkerHost, options: WorkerOptions) {
    this.#host = host;
    this.#logs = new StepLogs(host.database);
    const { queues = ["default"], concurrency = 10, leaseMs = 10_000, pollMs = 500, onFailure = () => {} } = options;
    this.#options = { ...options, queues, concurrency, leaseMs, pollMs, onFailure };
    const { executors, authorize, moment } = options;
    this.#runner = new StepRunner({
      executors,
      authorize,
      moment: moment && ((name, task) => moment(name, [task])),
      log: (task, line) => this.#logs.add(task, line),
      startRun: (task, run, asked) => this.#startRun(task, run, asked),
      graceMs: options.graceMs ?? GRACE_MS,
      holds: ({ fence }) => this.#upkeep.holds(fence),
      results: (runId, nodes) => this.#resultsOf(runId, nodes),
    });
    this.#upkeep = new Upkeep({
      database: host.database,
      worker: this.id,
      leaseMs,
      logDays: options.logDays ?? DEFAULT_LOG_DAYS,
      runDays: options.runDays ?? DEFAULT_RUN_DAYS,
      running: () => [...this.#running.keys()],
      stop: (fence, reason) => this.#running.get(fence)?.abort.abort(reason),
      adopt: (ask) => this.#adopt(ask),
      changed: () => this.wake(),
      ended: host.ended,
      onFailure,
      moment:
        moment &&
        ((name) =>
          moment(
            name,
            [...this.#running.values()].map(({ task }) => task),
          )),
    });
  }

  start(): void {
    this.#upkeep.start();
    this.#poll = setInterval(() => this.wake(), this.#options.pollMs);
    this.wake();
  }

  /** Runs may have been told to stop. */
  beat(): void {
    this.#upkeep.beat();
  }

  /** There may be something to claim. */
  wake(): void {
    this.#mayHaveMore = true;
    this.#schedule();
  }

  /** What ends within one turn of the event loop is stored at once. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#turn();
    });
  }

  /** Steps that may begin: what has ended makes room before it is stored. */
  #free(): number {
    const busy = this.#running.size - this.#settling - this.#results.length + this.#reserved;
    return this.#isClosing ? 0 : Math.max(0, this.#options.concurrency - busy);
  }

  /** Room for tasks of runs that are about to be stored; none while others may be waiting. */
  room(): ClaimRoom | undefined {
    const slots = this.#free();
    if (slots === 0 || this.#mayHaveMore) return undefined;
    this.#reserved += slots;
    const since = performance.now();
    const { queues, leaseMs } = this.#options;
    const done = (claims: readonly StartClaim[]) => {
      this.#reserved -= slots;
      const isOurs = ({ fence }: StartClaim) => !this.#running.has(fence) && !this.#adopted.has(fence);
      for (const claim of claims.filter(isOurs)) this.#beginFirst(claim, since);
      this.#schedule();
    };
    return { worker: this.id, queues, slots, leaseMs, done };
  }

  #beginFirst({ run, task, fence }: StartClaim, since: number): void {
    if (!this.#runs.has(run.id)) this.#runs.set(run.id, { context: run, tasks: 0 });
    this.#upkeep.holdsSince(fence, since);
    const { node, spec, successors } = task;
    const first = { target: "", item: null, attempt: 1, failures: 0 };
    this.#do({ ...first, runId: run.id, node, fence, spec, followers: successors.length });
  }

  #turn(): void {
    if (this.#turns >= MOST_TURNS) return;
    const results = this.#results;
    const look = this.#mayHaveMore && !this.#isClosing;
    // A turn that only claims is one at a time.
    if (results.length === 0 && (!look || this.#turns > 0)) {
      if (this.#isClosing && this.#running.size === 0 && this.#reserved === 0 && this.#turns === 0)
        this.#closed.resolve();
      return;
    }
    const free = this.#free();
    if (results.length === 0 && free === 0) return;
    // Room that nobody needs is left to runs that start meanwhile.
    const wanted = results.reduce((sum, { task }) => sum + task.followers, 0);
    const slots = look ? free : Math.min(free, wanted);
    this.#results = [];
    this.#turns += 1;
    this.#reserved += slots;
    this.#settling += results.length;
    // What is told from now on may be about what this turn does not see.
    if (look && slots > 0) this.#mayHaveMore = false;
    void this.#settle(results, slots, look).finally(() => {
      this.#turns -= 1;
      this.#reserved -= slots;
      this.#settling -= results.length;
      this.#schedule();
    });
  }

  async #settle(results: SettleEntry[], slots: number, look: boolean): Promise<void> {
    const { queues, leaseMs, moment, onFailure } = this.#options;
    for (;;) {
      try {
        await moment?.("before-settle", results.map(asTask));
        await this.#writeLogs(results);
        const sentAt = performance.now();
        const turn = { worker: this.id, results, queues, slots, look, leaseMs };
        const { rows, refused, isSplit } = await settle(this.#host.database, turn);
        await moment?.("after-settle", results.map(asTask));
        this.#giveUp(refused);
        for (const { fence } of results) this.#forget(fence);
        const claimed = rows.filter(({ node }) => node !== null);
        if (look && (claimed.length >= slots || isSplit)) this.#mayHaveMore = true;
        this.#begin(
          claimed.filter(({ fence }) => !this.#adopted.has(fence)),
          sentAt,
        );
        this.#tell(rows, results);
        return;
      } catch (error) {
        onFailure(HmsError.from(error));
        // Whether it was committed or not: what was is dropped by its fence, and claims whose answer was lost are adopted.
        await delay(RETRY_PAUSE_MS);
        if (this.#isAbandoned || (this.#isClosing && results.length === 0)) return;
        this.#upkeep.beat();
      }
    }
  }

  #giveUp(refused: readonly RefusedResult[]): void {
    for (const { entry, error, isLeft } of refused) {
      this.#options.onFailure(error);
      if (isLeft) this.#leave(entry.fence);
    }
  }

  #tell(rows: readonly SettleRow[], results: readonly SettleEntry[]): void {
    const told = rows.filter(({ node }) => node === null);
    const ended = told.flatMap(({ run_id, state, item }) => (run_id === null ? [] : [{ runId: run_id, state, item }]));
    if (told.length > ended.length) this.#host.ready();
    if (ended.length > 0) this.#host.ended(ended);
    // Others wait for the end of these.
    if (ended.some(({ item }) => isAwaited(item)) || results.some(({ outcome }) => outcome.outcome === "waiting"))
      this.#upkeep.look();
    for (const { outcome } of results)
      if ("delay_ms" in outcome && outcome.delay_ms !== undefined) this.#upkeep.lookIn(outcome.delay_ms);
  }

  async #adopt(ask: (known: readonly string[]) => Promise<readonly SettleRow[]>): Promise<void> {
    // Half of the lease is left at least.
    const since = performance.now() - this.#options.leaseMs / 2;
    this.#adoptions += 1;
    try {
      const found = await ask([...this.#running.keys()]);
      // What was on its way when they were asked for may have come, and been done, before they are told of.
      const rows = found.filter(
        ({ fence }) => !this.#endedMeanwhile.has(fence) && !this.#running.has(fence) && !this.#left.has(fence),
      );
      // The answer that was believed lost may still come, even after they have been done.
      for (const { fence } of rows) this.#adopted.add(fence);
      this.#begin(rows, since);
    } finally {
      this.#adoptions -= 1;
      if (this.#adoptions === 0) this.#endedMeanwhile.clear();
    }
  }

  #begin(rows: readonly SettleRow[], since: number): void {
    for (const row of rows) {
      const { run_id: runId, node, fence, environment, inputs, principal } = row;
      if (runId === null || node === null || this.#running.has(fence)) continue;
      if (environment !== null && !this.#runs.has(runId)) {
        this.#runs.set(runId, { context: { id: runId, environment, inputs, principal }, tasks: 0 });
      }
      this.#upkeep.holdsSince(fence, since);
      this.#do({ ...row, runId, node });
    }
    for (const [id, { tasks }] of this.#runs) if (tasks === 0) this.#runs.delete(id);
  }

  #do(task: ClaimedTask): void {
    const run = this.#runs.get(task.runId);
    // Its run is not known only if its last step here was settled while this was on its way: found by the next look.
    if (!run) return;
    run.tasks += 1;
    const abort = new AbortController();
    this.#running.set(task.fence, { task, abort });
    if (this.#isClosing) abort.abort("closing" satisfies StopReason);
    void this.#runner.run(task, run.context, abort.signal).then((outcome) => this.#finish(task, outcome));
  }

  #finish(task: ClaimedTask, outcome: TaskOutcome): void {
    const isUnknown = outcome.outcome === "released" && task.spec.effect === "at_most_once";
    if (outcome.outcome === "lost" || isUnknown) {
      // Somebody else has it now, or somebody has to decide: whoever finds the lease run out.
      if (isUnknown || ("mayBeDone" in outcome && outcome.mayBeDone)) this.#leave(task.fence);
      this.#forget(task.fence);
      this.wake();
      return;
    }
    this.#results.push({ task, fence: task.fence, outcome });
    this.#schedule();
  }

  #leave(fence: string): void {
    this.#left.add(fence);
    setTimeout(() => this.#left.delete(fence), 2 * this.#options.leaseMs).unref();
  }

  #forget(fence: string): void {
    const running = this.#running.get(fence);
    if (!running) return;
    this.#running.delete(fence);
    if (this.#adoptions > 0) this.#endedMeanwhile.add(fence);
    this.#upkeep.forget(fence);
    const run = this.#runs.get(running.task.runId);
    if (run) run.tasks -= 1;
  }

  /** What a step has said can be read once it has ended. */
  async #writeLogs(results: readonly SettleEntry[]): Promise<void> {
    const hadLogs = results.filter(({ fence }) => this.#logs.end(fence)).length > 0;
    if (hadLogs) await this.#logs.flush();
  }

  async #startRun(task: ClaimedTask, run: RunContext, asked: Json): Promise<void> {
    const { graph, inputs } = asked as { graph?: RunGraph; inputs?: RunContext["inputs"] };
    const request: StartRequest = {
      environment: run.environment,
      graph: graph as RunGraph,
      inputs: inputs ?? {},
      principal: run.principal,
      // Begun again after a crash, it is the same run.
      idempotencyKey: `run:${run.id}:${task.node}`,
    };
    await startRuns(this.#host.database, [request], { parent: { run: run.id, node: task.node } });
    this.wake();
  }

  async #resultsOf(runId: string, nodes: readonly string[]): Promise<{ [node: string]: Json }> {
    const query = sql<{ node: string; state: string; output: Json; error: Json }>`
      select node, state, output, error from task where run_id = ${runId}::uuid and target = '' and node = any (${nodes}::text[])`;
    // While the database is away nothing is known of the step, least of all that it has failed.
    const rows = await retryWhileUnavailable(() => rowsOf(this.#host.database, query), {
      deadlineMs: LONGEST_READ_MS,
    }).catch((error: unknown) => {
      throw leaveTask(error);
    });
    return Object.fromEntries(rows.map(({ node, ...result }) => [node, result]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosing) {
      this.#isClosing = true;
      clearInterval(this.#poll);
      for (const { abort } of this.#running.values()) abort.abort("closing" satisfies StopReason);
      this.#schedule();
    }
    const grace = setTimeout(() => {
      this.#isAbandoned = true;
      this.#closed.resolve();
    }, GRACE_MS);
    await this.#closed.promise;
    clearTimeout(grace);
    await this.#upkeep[Symbol.asyncDispose]();
    await this.#logs[Symbol.asyncDispose]();
  }
}

const isAwaited = (item: Json) => {
  const { has_parent, has_key } = item as { has_parent: boolean; has_key: boolean };
  return has_parent || has_key;
};
const asTask = ({ task }: SettleEntry) => task;
