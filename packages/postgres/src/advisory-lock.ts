import { HmsError } from "@hms/kernel";
import type { ClientConfig } from "pg";
import { openConnection } from "./admin-connection.ts";
import { lockKey } from "./lock-key.ts";

/** How long to wait for a lock. */
export interface LockOptions {
  /** Default 10 000. */
  deadlineMs?: number;
}

/** What is done under a lock: `lost` is aborted when the connection that holds the lock breaks. */
export type LockedWork<T> = (lost: AbortSignal) => Promise<T>;

/**
 * Runs `work` while holding a lock that one process of the database at a time can have. The lock lives on a connection
 * of its own and ends with it.
 * @throws HmsError DEADLINE_EXCEEDED if another holds it until the deadline.
 */
export async function underAdvisoryLock<T>(
  config: ClientConfig,
  name: string,
  options: LockOptions & { work: LockedWork<T> },
): Promise<T> {
  const { deadlineMs = 10_000, work } = options;
  await using connection = await openConnection(config);
  await connection.query("SELECT set_config('lock_timeout', $1, false)", [`${Math.max(1, Math.round(deadlineMs))}ms`]);
  try {
    await connection.query("SELECT pg_advisory_lock($1)", [lockKey(`lock:${name}`)]);
  } catch (error) {
    if (!(error instanceof HmsError) || error.details.reason !== "LOCKED") throw error;
    throw new HmsError(
      "DEADLINE_EXCEEDED",
      `Another process held the lock "${name}" for longer than ${deadlineMs} ms. Wait until it is done, or look for one that hangs.`,
      { reason: "LOCKED", metadata: { lock: name }, cause: error },
    );
  }
  return await work(connection.lost);
}
