import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel/errors";
import { retryWhileUnavailable } from "@hms/postgres";
import type { RunDatabase } from "./run-database.ts";
import {
  batchesOf,
  type PreparedStart,
  prepareStart,
  resultsOf,
  type StartedRun,
  type StartRequest,
  type StartRow,
  throwNamed,
} from "./start-run.ts";

/** What a start may do to other runs. */
export interface StartOptions {
  /**
   * Asked before `cancel_running` cancels a run: throws if whoever starts may not do that, and then nothing is cancelled and
   * nothing starts. Default: it may.
   */
  readonly authorizeCancel?: (runId: string) => Promise<void> | void;
}

/** Others may take an idempotency key, or begin to hold a concurrency key, each time. */
const MOST_TURNS = 20;
const TURN_PAUSE_MS = 50;
/** How long it is tried while the database is away. */
const PATIENCE_MS = 10_000;

interface CancellingRow extends Omit<StartRow, "nodes" | "fences"> {
  /** A run that would have to be cancelled, and may not be: then nothing was done. */
  holder: string | null;
}

/**
 * Stores runs as startRuns(), and cancels those that hold the concurrency keys of the ones that say `cancel_running`, all in one
 * commit: a start that is refused, or whose idempotency key is known, cancels nothing.
 * @throws HmsError as startRuns(); what `authorizeCancel` throws.
 */
export async function startCancelling(
  database: RunDatabase,
  requests: readonly StartRequest[],
  { authorizeCancel }: StartOptions = {},
): Promise<StartedRun[]> {
  const prepared = requests.map((request) => prepareStart(request));
  const mayCancel = new Set<string>();
  for (let turn = 0; turn < MOST_TURNS; turn += 1) {
    if (turn > 1) await delay(TURN_PAUSE_MS);
    const rows = await ask(database, prepared, mayCancel);
    const holders = rows.flatMap(({ holder }) => (holder === null ? [] : [holder]));
    for (const runId of holders) {
      if (!mayCancel.has(runId)) await authorizeCancel?.(runId);
      mayCancel.add(runId);
    }
    const wasStored = rows.length > 0 && rows.every(({ id }) => id !== null);
    if (wasStored) return resultsOf(prepared, rows).map(orThrow);
  }
  const message = "Other runs with the same keys begin all the time; try again in a second.";
  throw new HmsError("ABORTED", message, { retryAfterMs: 1000 });
}

const START = { name: "durable.start_cancelling", text: "select * from start_cancelling($1::jsonb, $2::uuid[])" };

/** No rows: somebody else has used an idempotency key or held what this waited for, and nothing was done. */
async function ask(
  database: RunDatabase,
  prepared: readonly PreparedStart[],
  mayCancel: ReadonlySet<string>,
): Promise<CancellingRow[]> {
  const parameters = [JSON.stringify(batchesOf(prepared).batches), [...mayCancel]];
  const once = () => database.prepared<CancellingRow>(START, parameters);
  return await retryWhileUnavailable(once, { deadlineMs: PATIENCE_MS }).catch((error: unknown) =>
    isKeyTaken(error) || isDeadlock(error) ? [] : throwNamed(error),
  );
}

const stateOf = (error: unknown) => (error instanceof HmsError ? error.details.metadata?.sqlstate : undefined);
const isKeyTaken = (error: unknown) => stateOf(error) === "HMS03";
/** PostgreSQL's deadlock_detected. */
const isDeadlock = (error: unknown) => stateOf(error) === "40P01";

function orThrow(result: StartedRun | HmsError): StartedRun {
  if (result instanceof HmsError) throw result;
  return result;
}
