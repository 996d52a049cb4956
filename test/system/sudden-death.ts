import { readdirSync, readFileSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { LoadRecord } from "./open-loop-load.ts";

/** When processes were dying, in the clock of a load. */
export interface Outage {
  from: number;
  to: number;
}

/**
 * False from the moment on at which the kernel has taken the process down. A zombie has no sockets any more, unless
 * another thread of its process has not ended yet: they share them.
 */
export function isAlive(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).some((thread) => isThreadAlive(`/proc/${pid}/task/${thread}`));
  } catch {
    return false;
  }
}

function isThreadAlive(folder: string): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`${folder}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Kills processes by SIGKILL; ends once they are dead and the loads of this process know which connections have ended. */
export async function killAtOnce(...pids: number[]): Promise<Outage> {
  const from = performance.now();
  for (const pid of pids) process.kill(pid, "SIGKILL");
  // Whatever is sent after this must be answered, so nothing may be sent before it is over.
  while (pids.some(isAlive));
  // One whole turn of the event loop, in which the client hears of its connections.
  await nextTurn();
  await nextTurn();
  return { from, to: performance.now() };
}

/** True for a request that was under way while processes died. */
export function wasUnderWay({ startedAt, endedAt }: LoadRecord, { from, to }: Outage): boolean {
  return startedAt <= to && endedAt >= from;
}
