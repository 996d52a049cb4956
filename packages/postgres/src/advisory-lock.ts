import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel";
import type { ClientConfig } from "pg";
import { type Connection, openConnection } from "./admin-connection.ts";
import { lockKey } from "./lock-key.ts";

const ASK_EVERY_MS = 200;

/** How long to wait for a lock. */
export interface LockOptions {
  /** Default 10 000. */
  deadlineMs?: number;
  /** Ends the wait. With it the lock is asked for every 200 ms instead of queued for: who came first need not get it. */
  signal?: AbortSignal;
}

/** What is done under a lock: `lost` is aborted when the connection that holds the lock breaks. */
export type LockedWork<T> = (lost: AbortSignal) => Promise<T>;

/**
 * Runs `work` while holding a lock that one process of the database at a time can have. The lock lives on a connection
 * of its own and ends with it.
 * @throws HmsError DEADLINE_EXCEEDED if another holds it until the deadline, CANCELLED if the signal ends the wait.
 */
export async function underAdvisoryLock<T>(
  config: ClientConfig,
  name: string,
  options: LockOptions & { work: LockedWork<T> },
): Promise<T> {
  const { deadlineMs = 10_000, signal, work } = options;
  await using connection = await openConnection(config);
  const wait = signal ? ask(connection, { name, deadlineMs, signal }) : queue(connection, { name, deadlineMs });
  await wait;
  return await work(connection.lost);
}

interface Wait {
  name: string;
  deadlineMs: number;
}

const tooLate = ({ name, deadlineMs }: Wait, cause?: unknown) =>
  new HmsError(
    "DEADLINE_EXCEEDED",
    `Another process held the lock "${name}" for longer than ${deadlineMs} ms. Wait until it is done, or look for one that hangs.`,
    { reason: "LOCKED", metadata: { lock: name }, cause },
  );

async function queue(connection: Connection, wait: Wait): Promise<void> {
  const timeout = `${Math.max(1, Math.round(wait.deadlineMs))}ms`;
  await connection.query("SELECT set_config('lock_timeout', $1, false)", [timeout]);
  try {
    await connection.query("SELECT pg_advisory_lock($1)", [lockKey(`lock:${wait.name}`)]);
  } catch (error) {
    if (!(error instanceof HmsError) || error.details.reason !== "LOCKED") throw error;
    throw tooLate(wait, error);
  }
}

async function ask(connection: Connection, wait: Wait & { signal: AbortSignal }): Promise<void> {
  const deadline = performance.now() + wait.deadlineMs;
  for (;;) {
    const [answer] = await connection.query<{ held: boolean }>("SELECT pg_try_advisory_lock($1) AS held", [
      lockKey(`lock:${wait.name}`),
    ]);
    if (answer?.held) return;
    if (performance.now() > deadline) throw tooLate(wait);
    await delay(ASK_EVERY_MS, undefined, { signal: wait.signal }).catch((abort: unknown) => {
      throw HmsError.from(abort);
    });
  }
}
