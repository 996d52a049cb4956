import { ChangeSignal } from "@hms/kernel";
import { HmsError } from "@hms/kernel/errors";
import { binaryArray } from "@hms/postgres";
import { sql } from "kysely";
import type { ClaimedTask, RunContext, RunPrincipal, SettleRow, TaskOutcome } from "./claimed-task.ts";
import type { Effect } from "./graph.ts";
import { type Json, toStoredJson } from "./json.ts";
import { type EndedClaim, endedClaim, type HeldTask, heldTask } from "./remote-claim-state.ts";
import { type RunDatabase, rowsOf } from "./run-database.ts";
import { type SettleEntry, settle } from "./settle.ts";
import type { Step } from "./step.ts";
import { failedOutcome } from "./step-failure.ts";
import { leaveTask, StepRunner } from "./step-runner.ts";

/** Who works on the steps of a queue, somewhere else. */
export interface RemoteWorker {
  readonly environment: string;
  readonly queue: string;
  /** Whose program it is ("service:default/etl"). */
  readonly principal: string;
  /** Names the process among those of its principal: without blanks. */
  readonly name: string;
}

/** One attempt of one step, as it was claimed. */
export interface RemoteClaim {
  readonly runId: string;
  readonly node: string;
  readonly target: string;
  readonly fence: string;
}

/** A step that somebody elsewhere is to do. */
export interface RemoteStep extends RemoteClaim {
  readonly uses: string;
  readonly input: Json;
  readonly item: Json;
  readonly attempt: number;
  readonly failures: number;
  readonly effect: Effect;
  readonly principal: RunPrincipal;
  readonly timeoutMs: number | undefined;
}

/** What somebody elsewhere wants. */
export interface ClaimRequest {
  readonly worker: RemoteWorker;
  readonly slots: number;
  readonly leaseMs: number;
  /** Called before a step is given out; throws if its principal may not do this (any more). */
  readonly authorize?: (step: Step) => Promise<void> | void;
}

/** Whether a claim still holds. */
export interface RenewedClaim {
  readonly holds: boolean;
  /** Why it is to be given up. */
  readonly stop?: "cancelled" | "timed_out" | "lost";
}

/** What is told of a claim that has ended. */
export type RemoteOutcome = { readonly output: Json } | { readonly error: HmsError };

/** How long a step that was told to stop may go on. */
const GRACE_MS = 5000;

/** A worker as the rows know it: it holds nothing of another environment, queue, principal or process. */
const workerText = ({ environment, queue, principal, name }: RemoteWorker): string =>
  `${environment} ${queue} ${principal} ${name}`;

/** Steps that are done outside of this process: claimed, renewed and ended by calls. Their leases are the truth. */
export class RemoteClaims {
  readonly #database: RunDatabase;
  readonly #changed: (ended: readonly { runId: string; state: string }[]) => void;
  /** Wakes up when something may have become ready. */
  readonly ready = new ChangeSignal();

  /** `changed` is called after each commit that may have made steps ready, with the runs that it has ended. */
  constructor(database: RunDatabase, changed: (ended: readonly { runId: string; state: string }[]) => void) {
    this.#database = database;
    this.#changed = changed;
  }

  /** Steps that the worker is to do now; what cannot be begun is settled here. */
  async claim({ worker, slots, leaseMs, authorize }: ClaimRequest): Promise<RemoteStep[]> {
    const rows = await rowsOf(this.#database, claimQuery(worker, slots, leaseMs));
    const steps: RemoteStep[] = [];
    const results: SettleEntry[] = [];
    for (const row of rows) {
      const task: ClaimedTask = { ...row, runId: row.run_id as string, node: row.node as string };
      const { run, step, outcome } = await this.#begin(task, contextOf(row), authorize);
      if (step) steps.push(remoteStep(task, run, step));
      // Of what is lost nothing is known: whoever finds the lease run out decides.
      else if (outcome.outcome !== "lost") results.push({ task, fence: task.fence, outcome });
    }
    if (results.length === 0) return steps;
    await this.#settle(worker, results).catch((error: unknown) => {
      // What was claimed with them is given out all the same; they are found by their leases.
      if (steps.length === 0) throw error;
    });
    return steps;
  }

  /** Gives back what was claimed and never given out. */
  async release(worker: RemoteWorker, steps: readonly RemoteStep[]): Promise<void> {
    const results: SettleEntry[] = [];
    for (const step of steps) {
      const task = await heldTask(this.#database, workerText(worker), step);
      if (task) results.push({ task, fence: step.fence, outcome: { outcome: "released" } });
    }
    if (results.length > 0) await this.#settle(worker, results);
  }

  /** Prolongs leases; what is over its time, or was told to stop too long ago, is settled. In the order of the claims. */
  async renew(worker: RemoteWorker, claims: readonly RemoteClaim[], leaseMs: number): Promise<RenewedClaim[]> {
    const text = workerText(worker);
    const fences = claims.map(({ fence }) => fence);
    const over = await rowsOf(this.#database, overdueQuery(text, fences));
    if (over.length > 0) {
      await this.#settle(
        worker,
        over.map((row) => ({ task: row, fence: row.fence, outcome: overdueOutcome(row) })),
      );
    }
    const held = await rowsOf(
      this.#database,
      sql<{ fence: string; holds: boolean; stop_reason: "cancelled" | "timed_out" | null }>`
        select * from heartbeat(${text}, ${fences}::bigint[], ${leaseMs})`,
    );
    const byFence = new Map(held.map((row) => [row.fence, row]));
    return fences.map((fence) => {
      const row = byFence.get(fence);
      if (!row?.holds) return { holds: false, stop: "lost" };
      return { holds: true, ...(row.stop_reason ? { stop: row.stop_reason } : {}) };
    });
  }

  /**
   * Stores what came of a claim, once: the same again changes nothing.
   * @throws HmsError FAILED_PRECONDITION if it was lost, NOT_FOUND if there is none, PERMISSION_DENIED if it is another's.
   */
  async end(worker: RemoteWorker, claim: RemoteClaim, told: RemoteOutcome): Promise<void> {
    const text = workerText(worker);
    const task = await heldTask(this.#database, text, claim);
    if (task) await this.#settle(worker, [{ task, fence: claim.fence, outcome: outcomeOf(task, told) }]);
    await this.#requireEnd(worker, claim, (ended) => wasStored(ended, told));
  }

  /**
   * Adds a piece to a step's log; one that is there already is not added again.
   * @throws HmsError as end(); OUT_OF_RANGE if pieces before it are missing.
   */
  async log(worker: RemoteWorker, claim: RemoteClaim, { seq, text }: { seq: number; text: string }): Promise<void> {
    const task = await heldTask(this.#database, workerText(worker), claim);
    if (!task) return await this.#requireEnd(worker, claim, () => false);
    const [{ last } = { last: 0 }] = await rowsOf(this.#database, lastPieceQuery(task));
    if (seq > last + 1) {
      throw new HmsError(
        "OUT_OF_RANGE",
        `The log of this attempt has ${last} pieces, so the next one is ${last + 1} and not ${seq}: number them without gaps.`,
        { reason: "LOG_GAP" },
      );
    }
    if (seq > last) await rowsOf(this.#database, appendQuery(task, seq, text));
  }

  /** Which of these queues have steps that are ready. */
  async readyQueues(asked: readonly Pick<RemoteWorker, "environment" | "queue">[]): Promise<boolean[]> {
    const rows = await rowsOf(
      this.#database,
      sql<{ is_ready: boolean }>`
        select exists (select from task t join run r on r.id = t.run_id
          where t.state = 'ready' and t.queue = p.queue and r.environment = p.environment) as is_ready
        from unnest(${asked.map(({ queue }) => queue)}::text[], ${asked.map(({ environment }) => environment)}::text[])
          with ordinality p (queue, environment, place) order by p.place`,
    );
    return rows.map(({ is_ready }) => is_ready);
  }

  async #begin(task: ClaimedTask, run: RunContext, authorize: ClaimRequest["authorize"]) {
    let step: Step | undefined;
    const give = (given: Step) => {
      step = given;
      throw leaveTask();
    };
    const uses = task.spec.uses ?? "";
    const runner = new StepRunner({
      executors: { [uses]: give },
      authorize,
      startRun: () => Promise.reject(notHere(task)),
      graceMs: GRACE_MS,
      holds: () => true,
      results: (runId, nodes) => this.#resultsOf(runId, nodes),
    });
    const outcome = await runner.run(task, run, new AbortController().signal);
    return { run, step, outcome };
  }

  async #settle(worker: RemoteWorker, results: readonly SettleEntry[]): Promise<void> {
    const turn = { worker: workerText(worker), results, queues: [], slots: 0, look: false, leaseMs: 1000 };
    const { rows } = await settle(this.#database, turn);
    this.#changed(
      rows.flatMap(({ run_id, node, state }) => (run_id === null || node !== null ? [] : [{ runId: run_id, state }])),
    );
  }

  async #requireEnd(worker: RemoteWorker, claim: RemoteClaim, isGood: (ended: EndedClaim) => boolean): Promise<void> {
    const ended = await endedClaim(this.#database, worker.environment, claim);
    const holder = ended?.worker ?? "";
    const isOwn = holder === "" || holder.split(" ").slice(2, -1).join(" ") === worker.principal;
    if (!isOwn) {
      throw new HmsError("PERMISSION_DENIED", "Somebody else has claimed this step; only they can speak for it.", {
        reason: "CLAIM_OF_ANOTHER",
      });
    }
    if (ended && holder === workerText(worker) && isGood(ended)) return;
    throw claimLost(claim, ended);
  }

  async #resultsOf(runId: string, nodes: readonly string[]): Promise<{ [node: string]: Json }> {
    const query = sql<{ node: string; state: string; output: Json; error: Json }>`
      select node, state, output, error from task where run_id = ${runId}::uuid and target = '' and node = any (${nodes}::text[])`;
    const rows = await rowsOf(this.#database, query).catch((error: unknown) => {
      // While the database is away nothing is known of the step, least of all that it has failed.
      throw leaveTask(error);
    });
    return Object.fromEntries(rows.map(({ node, ...result }) => [node, result]));
  }
}

const notHere = ({ node, spec }: ClaimedTask) =>
  new HmsError(
    "FAILED_PRECONDITION",
    `${node} is a run of its own, which the platform's own worker begins: leave its queue "${spec.queue}" out.`,
    { reason: "RUN_IN_QUEUE" },
  );

const contextOf = (row: SettleRow): RunContext => ({
  id: row.run_id as string,
  environment: row.environment as string,
  inputs: row.inputs,
  principal: row.principal,
});

const remoteStep = (task: ClaimedTask, run: RunContext, step: Step): RemoteStep => ({
  runId: task.runId,
  node: task.node,
  target: task.target,
  fence: task.fence,
  uses: step.uses,
  input: step.input,
  item: task.item,
  attempt: task.attempt,
  failures: task.failures,
  effect: step.effect,
  principal: run.principal,
  timeoutMs: task.spec.timeout_ms,
});

function outcomeOf(task: HeldTask, told: RemoteOutcome): TaskOutcome {
  if ("output" in told) {
    return { outcome: "succeeded", output: toStoredJson(told.output, `The output of ${task.node}`) };
  }
  const failed = failedOutcome(task, told.error);
  const isStopped = task.stop_reason !== null && told.error.code === "CANCELLED";
  return isStopped && "error" in failed && failed.error ? { outcome: "cancelled", error: failed.error } : failed;
}

function wasStored({ outcome }: EndedClaim, told: RemoteOutcome): boolean {
  if ("output" in told) return outcome === "succeeded";
  return outcome === "failed" || (outcome === "cancelled" && told.error.code === "CANCELLED");
}

function claimLost({ node, target, fence }: RemoteClaim, ended: EndedClaim | undefined): HmsError {
  const what = target === "" ? node : `${node} (${target})`;
  const why =
    ended === undefined
      ? "There is no such claim any more"
      : ended.outcome === "lost"
        ? "Its lease ran out before it was renewed"
        : `It has ended as ${ended.outcome}`;
  return new HmsError(
    "FAILED_PRECONDITION",
    `The claim ${fence} on ${what} is not yours any more: ${why}. Nothing of it was stored; stop working on it.`,
    { reason: "CLAIM_LOST" },
  );
}

const claimQuery = ({ environment, queue, ...worker }: RemoteWorker, slots: number, leaseMs: number) =>
  sql<SettleRow>`
    with picked as (
      select t.run_id, t.node, t.target from task t join run r on r.id = t.run_id
      where t.state = 'ready' and t.queue = ${queue} and r.environment = ${environment}
      order by t.priority desc, t.ready_at limit ${slots} for update of t skip locked
    ),
    taken as (
      update task t set state = 'running', worker = ${workerText({ environment, queue, ...worker })}, fence = nextval('fence'),
        attempt = t.attempt + 1, lease_until = clock_timestamp() + make_interval(secs => ${leaseMs}::float8 / 1000),
        started_at = clock_timestamp(), wait_for = null, due_at = null
      from picked p where t.run_id = p.run_id and t.node = p.node and t.target = p.target
      returning t.*
    )
    select t.run_id, t.node, t.target, t.attempt, t.failures, t.fence, cardinality(t.successors) as followers, t.spec, t.item, t.state, r.environment, r.inputs, r.principal
    from taken t join run r on r.id = t.run_id`;

interface OverdueRow extends HeldTask {
  is_late: boolean;
}

const overdueQuery = (worker: string, fences: readonly string[]) =>
  sql<OverdueRow>`
    select t.run_id as "runId", t.node, t.target, t.item, t.attempt, t.failures, t.fence, 0 as followers, t.spec, r.stop_reason, late.is_late
    from task t join run r on r.id = t.run_id
      cross join lateral (select coalesce(t.started_at + make_interval(secs => (t.spec->>'timeout_ms')::float8 / 1000)
        < clock_timestamp(), false) as is_late) late
    where t.state = 'running' and t.worker = ${worker} and t.fence = any (${fences}::bigint[])
      and (late.is_late or (not t.is_finally and r.stop_at + make_interval(secs => ${GRACE_MS}::float8 / 1000) < clock_timestamp()))`;

function overdueOutcome(row: OverdueRow): TaskOutcome {
  const error = row.is_late
    ? new HmsError("DEADLINE_EXCEEDED", `The step ${row.node} was not done in its time (timeout_ms).`, {
        reason: "STEP_TIMEOUT",
      })
    : new HmsError("CANCELLED", `The step ${row.node} was told to stop and went on; nobody waits for it any more.`, {
        reason: "STEP_DEAF",
      });
  const failed = failedOutcome(row, error);
  return row.stop_reason !== null && "error" in failed && failed.error
    ? { outcome: "cancelled", error: failed.error }
    : failed;
}

const lastPieceQuery = ({ runId, node, target, attempt }: ClaimedTask) =>
  sql<{ last: number }>`select coalesce(max(seq), 0) as last from log_chunk
    where run_id = ${runId}::uuid and node = ${node} and target = ${target} and attempt = ${attempt}::int`;

const appendQuery = ({ runId, node, target, attempt }: ClaimedTask, seq: number, text: string) =>
  sql`select write_logs(${[runId]}::uuid[], ${[node]}::text[], ${[target]}::text[], ${[attempt]}::int[], ${[seq]}::int[],
    ${binaryArray.bytea([Buffer.from(text)])}::bytea[])`;
