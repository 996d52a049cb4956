import { HmsError } from "@hms/kernel/errors";
import { sql } from "kysely";
import { type RunDatabase, rowsOf } from "./run-database.ts";
import type { RunState } from "./run-view.ts";

interface Waiter {
  readonly told: PromiseWithResolvers<RunState>;
  /** Whether the database has been asked since it began to wait. */
  hasLooked: boolean;
  isLate: boolean;
}

interface FoundRun {
  id: string;
  state: RunState;
  has_ended: boolean;
}

const LOOK_EVERY_MS = 200;

/** Who waits for the ends of runs: told at once of those that end in this process; of others one query for all finds out. */
export class RunEnds {
  readonly #database: RunDatabase;
  readonly #waiting = new Map<string, Set<Waiter>>();
  #timer: NodeJS.Timeout | undefined;
  #isScheduled = false;
  #isLooking = false;

  constructor(database: RunDatabase) {
    this.#database = database;
  }

  /** @throws HmsError NOT_FOUND; DEADLINE_EXCEEDED after `timeoutMs`; what the database says. */
  async of(id: string, timeoutMs: number): Promise<RunState> {
    const waiter: Waiter = { told: Promise.withResolvers(), hasLooked: false, isLate: false };
    const own = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, own.add(waiter));
    this.#lookNow();
    const tooLate = new HmsError(
      "DEADLINE_EXCEEDED",
      `The run ${id} has not ended within ${timeoutMs} ms; it goes on.`,
    );
    const alarm = setTimeout(() => {
      waiter.isLate = true;
      if (waiter.hasLooked) waiter.told.reject(tooLate);
    }, timeoutMs);
    try {
      return await waiter.told.promise;
    } catch (error) {
      throw error === LATE ? tooLate : error;
    } finally {
      clearTimeout(alarm);
      own.delete(waiter);
      if (own.size === 0) this.#waiting.delete(id);
    }
  }

  /** Runs have ended. */
  tell(rows: readonly { readonly runId: string; readonly state: string }[]): void {
    for (const { runId, state } of rows) {
      for (const { told } of this.#waiting.get(runId) ?? []) told.resolve(state as RunState);
    }
  }

  /** Who begins to wait within one turn of the event loop is asked for together. */
  #lookNow(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      void this.#look();
    });
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    clearTimeout(this.#timer);
    const asked = [...this.#waiting].map(([id, waiters]) => [id, [...waiters]] as const);
    try {
      const ids = asked.map(([id]) => id);
      const query = sql<FoundRun>`
        select id, state, ended_at is not null as has_ended from run where id = any (${ids}::uuid[])`;
      const found = new Map((await rowsOf(this.#database, query)).map((run) => [run.id, run]));
      for (const [id, waiters] of asked) for (const waiter of waiters) answer(waiter, id, found.get(id.toLowerCase()));
    } catch (error) {
      for (const [, waiters] of asked) for (const { told } of waiters) told.reject(error);
    }
    this.#isLooking = false;
    if (this.#waiting.size === 0) return;
    if ([...this.#waiting.values()].some((waiters) => [...waiters].some(({ hasLooked }) => !hasLooked)))
      this.#lookNow();
    else this.#timer = setTimeout(() => void this.#look(), LOOK_EVERY_MS);
  }
}

const LATE = Symbol("late");

function answer(waiter: Waiter, id: string, run: FoundRun | undefined): void {
  waiter.hasLooked = true;
  if (!run) waiter.told.reject(new HmsError("NOT_FOUND", `There is no run ${id}.`, { reason: "NO_RUN" }));
  else if (run.has_ended) waiter.told.resolve(run.state);
  else if (waiter.isLate) waiter.told.reject(LATE);
}
