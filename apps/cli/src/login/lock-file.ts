import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel/errors";

const PATIENCE_MS = 20_000;
const LOOK_EVERY_MS = 50;

/** Does work that only one process on this machine may do at a time; a lock whose process has died is taken over. */
export async function underLockFile<T>(file: string, work: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  while (!take(file)) {
    if (isOrphan(file)) rmSync(file, { force: true });
    else if (performance.now() > deadline) throw held(file);
    else await delay(LOOK_EVERY_MS);
  }
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

function take(file: string): boolean {
  try {
    const descriptor = openSync(file, "wx", 0o600);
    writeSync(descriptor, String(process.pid));
    closeSync(descriptor);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function isOrphan(file: string): boolean {
  try {
    const pid = Number(readFileSync(file, "utf8"));
    // Whoever has just made it has not written its number yet.
    if (pid === 0) return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

function held(file: string): HmsError {
  return new HmsError("ABORTED", `Another hms-sys holds ${file} for too long. If none runs, delete it and try again.`);
}
