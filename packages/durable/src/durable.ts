import { type ConnectionSource, openServiceDatabase } from "@hms/postgres";
import { cancelRun, pauseRun, type RunOrder, resumeRun } from "./control-run.ts";
import { type Decision, decide } from "./decide.ts";
import { type Hint, Hints } from "./hints.ts";
import { RemoteClaims } from "./remote-claims.ts";
import { type RetryRequest, retryRun } from "./retry-run.ts";
import type { RunDatabase } from "./run-database.ts";
import { RunEnds } from "./run-ends.ts";
import { type ListOptions, listRuns, type RunEvent, type RunProgress, readEvents, readProgress } from "./run-events.ts";
import { type RunState, type RunSummary, type RunView, readRun } from "./run-view.ts";
import { type StartOptions, startCancelling } from "./start-cancelling.ts";
import { StartQueue } from "./start-queue.ts";
import { type ClaimRoom, type StartedRun, type StartRequest, startRuns } from "./start-run.ts";
import {
  type LogPiece,
  type LogRequest,
  type RunLogPiece,
  type RunLogRequest,
  readLogs,
  readRunLogs,
} from "./step-logs.ts";
import { Worker } from "./worker.ts";
import type { EndedRun, WorkerOptions } from "./worker-options.ts";

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
   * Starts a run; once it resolves, it will run. What is asked for at the same time is stored in one commit. What is cancelled
   * for it is so in the same commit, and only if the run is new.
   * @throws HmsError INVALID_ARGUMENT with every problem; ALREADY_EXISTS if its key was used for another request; what
   * `authorizeCancel` throws.
   */
  start(request: StartRequest, options?: StartOptions): Promise<StartedRun>;
  /** Starts many in one commit: all or none. */
  startAll(requests: readonly StartRequest[], options?: StartOptions): Promise<StartedRun[]>;
  /** @throws HmsError NOT_FOUND */
  get(environment: string, id: string): Promise<RunView>;
  /** Resolves with the run's end. @throws HmsError NOT_FOUND, DEADLINE_EXCEEDED after `timeoutMs`. */
  ended(id: string, timeoutMs: number): Promise<RunState>;
  /**
   * Decides of a task that waits for it: an approval, or a step of which nobody knows whether it was done.
   * @throws HmsError NOT_FOUND, FAILED_PRECONDITION if it does not wait (any more).
   */
  decide(decision: Decision): Promise<void>;
  /** Tells a run to stop; what runs finally still runs. False if it has ended or is stopping. @throws HmsError NOT_FOUND */
  cancel(order: RunOrder): Promise<boolean>;
  /** Lets nothing of a run begin until it is resumed; what runs goes on. @throws HmsError NOT_FOUND */
  pause(order: RunOrder): Promise<boolean>;
  resume(order: RunOrder): Promise<boolean>;
  /** Carries an ended run on by a new one in which what has succeeded is done. @throws as retryRun() */
  retry(request: RetryRequest): Promise<StartedRun>;
  /** Runs of an environment, newest first. */
  list(environment: string, options?: ListOptions): Promise<RunSummary[]>;
  /** What has happened to a run after an event's number, oldest first. The caller has looked whether it may be seen. */
  events(runId: string, options?: { since?: number; limit?: number }): Promise<RunEvent[]>;
  /** The log of a step behind a cursor. The caller has looked whether it may be seen. */
  logs(request: LogRequest): Promise<LogPiece[]>;
  /** The log of all steps of a run behind a position. The caller has looked whether it may be seen. */
  runLogs(request: RunLogRequest): Promise<RunLogPiece[]>;
  /** How far runs have come. The caller has looked whether they may be seen. */
  progress(ids: readonly string[]): Promise<RunProgress[]>;
  /** Steps that are done by programs elsewhere. */
  readonly remote: RemoteClaims;
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

const cancels = ({ concurrency }: StartRequest) => concurrency?.onLimit === "cancel_running";

class DurableOfProcess implements Durable {
  readonly database: RunDatabase;
  readonly #workers = new Set<Worker>();
  readonly #ends: RunEnds;
  readonly #hints: Hints;
  readonly #starts: StartQueue;
  readonly remote: RemoteClaims;

  constructor(database: RunDatabase) {
    this.database = database;
    this.#ends = new RunEnds(database);
    this.#hints = new Hints(database, (hint) => this.#tellWorkers(hint));
    this.#starts = new StartQueue(database, { room: () => this.#room(), ready: () => this.#hint("ready") });
    this.remote = new RemoteClaims(database, (ended) => {
      this.#ends.tell(ended);
      this.#hint("ready");
    });
  }

  #tellWorkers(hint: Hint): void {
    if (hint === "ready") this.remote.ready.notify();
    for (const worker of this.#workers) {
      if (hint === "ready") worker.wake();
      else worker.beat();
    }
  }

  /** Ours at once, those of other processes soon. */
  #hint(hint: Hint): void {
    this.#tellWorkers(hint);
    this.#hints.send(hint);
  }

  #room(): ClaimRoom | undefined {
    for (const worker of this.#workers) {
      const room = worker.room();
      if (room) return room;
    }
    return undefined;
  }

  async start(request: StartRequest, options?: StartOptions): Promise<StartedRun> {
    if (cancels(request)) return (await this.startAll([request], options))[0] as StartedRun;
    return await this.#starts.start(request);
  }

  async startAll(requests: readonly StartRequest[], options?: StartOptions): Promise<StartedRun[]> {
    const mayCancel = requests.some(cancels);
    const started = await (mayCancel
      ? startCancelling(this.database, requests, options)
      : startRuns(this.database, requests));
    if (mayCancel) this.#hint("stop");
    this.#hint("ready");
    return started;
  }

  async cancel(order: RunOrder): Promise<boolean> {
    const did = await cancelRun(this.database, order);
    this.#hint("stop");
    this.#hint("ready");
    return did;
  }

  pause(order: RunOrder): Promise<boolean> {
    return pauseRun(this.database, order);
  }

  async resume(order: RunOrder): Promise<boolean> {
    const did = await resumeRun(this.database, order);
    this.#hint("ready");
    return did;
  }

  async retry(request: RetryRequest): Promise<StartedRun> {
    const started = await retryRun(this.database, request);
    this.#hint("ready");
    return started;
  }

  list(environment: string, options?: ListOptions): Promise<RunSummary[]> {
    return listRuns(this.database, environment, options);
  }

  events(runId: string, options?: { since?: number; limit?: number }): Promise<RunEvent[]> {
    return readEvents(this.database, runId, options);
  }

  logs(request: LogRequest): Promise<LogPiece[]> {
    return readLogs(this.database, request);
  }

  runLogs(request: RunLogRequest): Promise<RunLogPiece[]> {
    return readRunLogs(this.database, request);
  }

  progress(ids: readonly string[]): Promise<RunProgress[]> {
    return readProgress(this.database, ids);
  }

  get(environment: string, id: string): Promise<RunView> {
    return readRun(this.database, environment, id);
  }

  ended(id: string, timeoutMs: number): Promise<RunState> {
    return this.#ends.of(id, timeoutMs);
  }

  async decide(decision: Decision): Promise<void> {
    await decide(this.database, decision);
    this.#hint("ready");
  }

  worker(options: WorkerOptions): AsyncDisposable {
    const host = {
      database: this.database,
      ended: (rows: readonly EndedRun[]) => this.#ends.tell(rows),
      ready: () => this.#hint("ready"),
    };
    const worker = new Worker(host, options);
    this.#workers.add(worker);
    this.#hints.listen();
    worker.start();
    return {
      [Symbol.asyncDispose]: async () => {
        this.#workers.delete(worker);
        await worker[Symbol.asyncDispose]();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#workers].map((worker) => worker[Symbol.asyncDispose]()));
    await this.#hints[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
  }
}
