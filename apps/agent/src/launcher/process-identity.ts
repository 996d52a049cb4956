import { bootId } from "./boot-id.ts";
import { type ProcessEntry, readProcess } from "./process-table.ts";

/** Names one process for ever: pids are given again, these three together are not. */
export interface ProcessIdentity {
  pid: number;
  startTime: string;
  bootId: string;
}

/** The identity of a process that was just read. */
export function identityOf(entry: ProcessEntry): ProcessIdentity {
  return { pid: entry.pid, startTime: entry.startTime, bootId: bootId() };
}

/** True while that very process runs; a zombie does not. */
export function isAlive(identity: ProcessIdentity | undefined): boolean {
  if (!identity || identity.bootId !== bootId()) return false;
  const entry = readProcess(identity.pid);
  return entry !== undefined && entry.startTime === identity.startTime && !entry.zombie;
}

/** Sends a signal if that very process still runs; false if it does not. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    return process.kill(identity.pid, signal);
  } catch {
    // ESRCH: it ended between the two steps.
    return false;
  }
}
