import { HmsError } from "@hms/kernel/errors";
import type { RunDatabase } from "./run-database.ts";
import {
  type ClaimRoom,
  type PreparedStart,
  prepareStart,
  type StartedRun,
  type StartRequest,
  storeStarts,
} from "./start-run.ts";

interface Waiting {
  prepared: PreparedStart;
  done: PromiseWithResolvers<StartedRun>;
}

/** What starts have to do with workers. */
export interface StartQueueOptions {
  /** Room for what is ready at once, if a worker has any. */
  readonly room: () => ClaimRoom | undefined;
  /** Something may be ready that nobody has claimed. */
  readonly ready: () => void;
}

const MOST_AT_ONCE = 500;
/** While one commit is on its way to the disk the next is made. */
const LANES = 2;

/** Starts what many callers ask for at once in one commit, in the order in which they asked. */
export class StartQueue {
  readonly #database: RunDatabase;
  readonly #options: StartQueueOptions;
  #waiting: Waiting[] = [];
  #lanes = 0;

  constructor(database: RunDatabase, options: StartQueueOptions) {
    this.#database = database;
    this.#options = options;
  }

  /** @throws HmsError as startRuns(). */
  async start(request: StartRequest): Promise<StartedRun> {
    const done = Promise.withResolvers<StartedRun>();
    this.#waiting.push({ prepared: prepareStart(request), done });
    // Whoever asks within the same turn travels together.
    if (this.#lanes < LANES) setImmediate(() => void this.#run());
    return await done.promise;
  }

  async #run(): Promise<void> {
    if (this.#lanes >= LANES) return;
    this.#lanes += 1;
    while (this.#waiting.length > 0) await this.#store(this.#waiting.splice(0, MOST_AT_ONCE));
    this.#lanes -= 1;
  }

  async #store(batch: Waiting[]): Promise<void> {
    try {
      const { results, hasMore } = await storeStarts(
        this.#database,
        batch.map(({ prepared }) => prepared),
        this.#options.room(),
      );
      for (const [index, { done }] of batch.entries()) settle(done, results[index]);
      if (hasMore) this.#options.ready();
    } catch (error) {
      const [only] = batch;
      // One that cannot be started must not take others with it; each has its id, so that none is started twice.
      const half = Math.ceil(batch.length / 2);
      if (batch.length === 1 && only) only.done.reject(error);
      else for (const part of [batch.slice(0, half), batch.slice(half)]) await this.#store(part);
    }
  }
}

function settle(done: PromiseWithResolvers<StartedRun>, result: StartedRun | HmsError | undefined): void {
  if (result instanceof HmsError) done.reject(result);
  else done.resolve(result as StartedRun);
}
