import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel/errors";
import { translatePgError } from "@hms/postgres";
import type { ClaimedTask, SettleRow, StoredError, TaskOutcome } from "./claimed-task.ts";
import type { RunDatabase } from "./run-database.ts";
import { storedError } from "./step-failure.ts";

/** What came of one task. */
export interface SettleEntry {
  readonly task: ClaimedTask;
  readonly fence: string;
  readonly outcome: TaskOutcome;
}

/** One turn of a worker. */
export interface Turn {
  readonly worker: string;
  readonly results: readonly SettleEntry[];
  readonly queues: readonly string[];
  /** Tasks to claim at most. */
  readonly slots: number;
  /** Whether to look for others than those that become ready by this turn. */
  readonly look: boolean;
  readonly leaseMs: number;
}

/** What only some outcomes have: {delay_ms, wait_for, plan}. */
function detailOf({ outcome: _, output: __, error: ___, ...detail }: TaskOutcome & StoredParts): string | null {
  for (const _any in detail) return JSON.stringify(detail);
  return null;
}

interface StoredParts {
  output?: string;
  error?: StoredError;
}

const SETTLE = {
  name: "durable.settle",
  text: `select * from settle($1, $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11, $12, $13)`,
};

/** Stores results and claims tasks, in one commit; the claims, and runs that have ended. */
async function settleTurn(database: RunDatabase, turn: Turn): Promise<SettleRow[]> {
  const { worker, results, queues, slots, look, leaseMs } = turn;
  const of = <T>(pick: (entry: SettleEntry) => T) => results.map(pick);
  const parts = results.map(({ outcome }): TaskOutcome & StoredParts => outcome);
  const errors = parts.map(({ error }) => (error === undefined ? null : JSON.stringify(error)));
  try {
    const parameters = [
      worker,
      of(({ task }) => task.runId),
      of(({ task }) => task.node),
      of(({ task }) => task.target),
      of(({ fence }) => fence),
      parts.map(({ outcome }) => outcome),
      parts.map(({ output = null }) => output),
      errors,
      parts.map(detailOf),
      queues,
      slots,
      look,
      leaseMs,
    ];
    return await database.prepared<SettleRow>(SETTLE, parameters);
  } catch (error) {
    throw error instanceof HmsError ? error : translatePgError(error);
  }
}

/** What came of a turn. */
export interface Settled {
  /** The claims, and runs that have ended. */
  readonly rows: readonly SettleRow[];
  /** Results that the database does not take. */
  readonly refused: readonly RefusedResult[];
  /** Whether it was stored in pieces; then nothing was claimed. */
  readonly isSplit: boolean;
}

/** A result that the database does not take, whenever it is asked. */
export interface RefusedResult {
  readonly entry: SettleEntry;
  readonly error: HmsError;
  /** Not even its failure could be stored: whoever finds the lease run out decides. */
  readonly isLeft: boolean;
}

/**
 * SQLSTATEs (PostgreSQL manual, appendix A) that say something of a value, so that the same again is refused again: too many
 * rows, data exceptions, broken constraints, limits of programs, what a function raises.
 */
const REFUSALS = /^(?:21|22|23|54|P0)/;

const isRefusal = (error: unknown): error is HmsError =>
  error instanceof HmsError && REFUSALS.test(error.details.metadata?.sqlstate ?? "");

/** The statement took longer than it may: the database is slow, or one of the results is very large. */
const TOO_LONG = "57014";
const isTooLong = (error: unknown): error is HmsError =>
  error instanceof HmsError && error.details.metadata?.sqlstate === TOO_LONG;

/**
 * Stores results and claims tasks, in one commit. If the database refuses what is in one of the results, that one is stored as
 * failed, the others by themselves, and nothing is claimed. So it is with targets that take longer to store than a statement may.
 * @throws HmsError UNAVAILABLE, ABORTED, … if it may or may not have been done: the same turn can be repeated.
 */
export async function settle(database: RunDatabase, turn: Turn): Promise<Settled> {
  try {
    return { rows: await settleTurn(database, turn), refused: [], isSplit: false };
  } catch (error) {
    const { results } = turn;
    const [only] = results;
    if (!only || !(isRefusal(error) || isTooLong(error))) throw error;
    const rest = { ...turn, slots: 0, look: false };
    if (results.length === 1) return await settleAlone(database, rest, { entry: only, error, tries: 1 });
    const half = Math.ceil(results.length / 2);
    const first = await settle(database, { ...rest, results: results.slice(0, half) });
    const second = await settle(database, { ...rest, results: results.slice(half) });
    const refused = [...first.refused, ...second.refused];
    return { rows: [...first.rows, ...second.rows], refused, isSplit: true };
  }
}

interface Alone extends Omit<RefusedResult, "isLeft"> {
  readonly tries: number;
}

/** The database may have been slow by chance. */
const MOST_TRIES = 3;
const SLOW_PAUSE_MS = 1000;

async function settleAlone(database: RunDatabase, turn: Turn, { entry, error, tries }: Alone): Promise<Settled> {
  if (isRefusal(error)) return await settleRefused(database, turn, { entry, error });
  if (!isTooLong(error) || !("plan" in entry.outcome)) throw error;
  if (tries === MOST_TRIES) return await settleRefused(database, turn, { entry, error });
  await delay(tries * SLOW_PAUSE_MS);
  try {
    return { rows: await settleTurn(database, turn), refused: [], isSplit: true };
  } catch (again) {
    return await settleAlone(database, turn, { entry, error: HmsError.from(again), tries: tries + 1 });
  }
}

async function settleRefused(
  database: RunDatabase,
  turn: Turn,
  { entry, error }: Omit<RefusedResult, "isLeft">,
): Promise<Settled> {
  const outcome: TaskOutcome = { outcome: "failed", error: storedError(notTaken(entry, error)) };
  try {
    const rows = await settleTurn(database, { ...turn, results: [{ ...entry, outcome }] });
    return { rows, refused: [{ entry, error, isLeft: false }], isSplit: true };
  } catch (second) {
    if (!isRefusal(second)) throw second;
    return { rows: [], refused: [{ entry, error, isLeft: true }], isSplit: true };
  }
}

const notTaken = ({ task }: SettleEntry, { message, details }: HmsError) =>
  new HmsError(
    "INVALID_ARGUMENT",
    `What ${task.node} came to is nothing that the database stores: ${message} (${details.metadata?.sqlstate}). Change what it gives, or its targets.`,
    { reason: "RESULT_REFUSED" },
  );
