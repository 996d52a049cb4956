import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel/errors";
import { type ConnectionSource, openServiceDatabase } from "@hms/postgres";
import { sql } from "kysely";
import { type Decision, decide } from "./decide.ts";
import { type RunDatabase, rowsOf } from "./run-database.ts";
import { type RunState, type RunView, readRun } from "./run-view.ts";
import { type StartedRun, type StartRequest, startRuns } from "./start-run.ts";
import { Worker, type WorkerOptions } from "./worker.ts";

/** How the run engine is opened. */
export interface DurableOptions {
  source: ConnectionSource;
  /** Most connections to the database; default 6. */
  poolSize?: number;
  /** How long to wait for a database that is starting; default 10 000. */
  deadlineMs?: number;
  /** The longest that one statement may take; a connection that has said nothing 2 s later is given up. Default 5000. */
  statementTimeoutMs?: number;
}

/** The run engine of an installation, as one process sees it. Disposing it closes its workers. */
export interface Durable extends AsyncDisposable {
  /** The schema `durable`. */
  readonly database: RunDatabase;
  /**
   * Starts a run; once it resolves, it will run.
   * @throws HmsError INVALID_ARGUMENT with every problem; ALREADY_EXISTS if its key was used for another request.
   */
  start(request: StartRequest): Promise<StartedRun>;
  /** Starts many in one commit: all or none. */
  startAll(requests: readonly StartRequest[]): Promise<StartedRun[]>;
  /** @throws HmsError NOT_FOUND */
  get(environment: string, id: string): Promise<RunView>;
  /** Resolves with the run's end. @throws HmsError NOT_FOUND, DEADLINE_EXCEEDED after `timeoutMs`. */
  ended(id: string, timeoutMs: number): Promise<RunState>;
  /**
   * Decides of a task that waits for it: an approval, or a step of which nobody knows whether it was done.
   * @throws HmsError NOT_FOUND, FAILED_PRECONDITION if it does not wait (any more).
   */
  decide(decision: Decision): Promise<void>;
  /** A worker of this process; it works until it is disposed. */
  worker(options: WorkerOptions): AsyncDisposable;
}

/** @throws what openServiceDatabase() throws. */
export async function openDurable(options: DurableOptions): Promise<Durable> {
  const database: RunDatabase = await openServiceDatabase({
    source: options.source,
    service: "durable",
    migrations: new URL("../migrations/", import.meta.url),
    poolSize: options.poolSize ?? 6,
    deadlineMs: options.deadlineMs ?? 10_000,
    // A turn takes milliseconds; one that is stuck must not outlast the leases.
    statementTimeoutMs: options.statementTimeoutMs ?? 5000,
  });
  return new DurableOfProcess(database);
}

const LOOK_EVERY_MS = 200;

class DurableOfProcess implements Durable {
  readonly database: RunDatabase;
  readonly #workers = new Set<Worker>();
  readonly #waiting = new Map<string, Set<(state: RunState) => void>>();

  constructor(database: RunDatabase) {
    this.database = database;
  }

  async start(request: StartRequest): Promise<StartedRun> {
    const [started] = await this.startAll([request]);
    return started as StartedRun;
  }

  async startAll(requests: readonly StartRequest[]): Promise<StartedRun[]> {
    const started = await startRuns(this.database, requests);
    for (const worker of this.#workers) worker.wake();
    return started;
  }

  get(environment: string, id: string): Promise<RunView> {
    return readRun(this.database, environment, id);
  }

  async ended(id: string, timeoutMs: number): Promise<RunState> {
    const told = Promise.withResolvers<RunState>();
    const own = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, own.add(told.resolve));
    const deadline = performance.now() + timeoutMs;
    try {
      for (;;) {
        const query = sql<{ state: RunState; has_ended: boolean }>`
          select state, ended_at is not null as has_ended from run where id = ${id}::uuid`;
        const [run] = await rowsOf(this.database, query);
        if (!run) throw new HmsError("NOT_FOUND", `There is no run ${id}.`, { reason: "NO_RUN" });
        if (run.has_ended) return run.state;
        const state = await Promise.race([told.promise, delay(LOOK_EVERY_MS)]);
        if (state) return state;
        if (performance.now() > deadline) {
          throw new HmsError("DEADLINE_EXCEEDED", `The run ${id} has not ended within ${timeoutMs} ms; it goes on.`);
        }
      }
    } finally {
      own.delete(told.resolve);
      if (own.size === 0) this.#waiting.delete(id);
    }
  }

  async decide(decision: Decision): Promise<void> {
    await decide(this.database, decision);
    for (const worker of this.#workers) worker.wake();
  }

  worker(options: WorkerOptions): AsyncDisposable {
    const worker = new Worker({ database: this.database, ended: (rows) => this.#tell(rows) }, options);
    this.#workers.add(worker);
    worker.start();
    return {
      [Symbol.asyncDispose]: async () => {
        this.#workers.delete(worker);
        await worker[Symbol.asyncDispose]();
      },
    };
  }

  #tell(rows: readonly { runId: string; state: string }[]): void {
    for (const { runId, state } of rows) {
      for (const resolve of this.#waiting.get(runId) ?? []) resolve(state as RunState);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker[Symbol.asyncDispose]()));
    await this.database[Symbol.asyncDispose]();
  }
}
