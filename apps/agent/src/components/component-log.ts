import { closeSync, copyFileSync, openSync, readSync, statSync, truncateSync } from "node:fs";

/** A log is cut at this size; what was in it is kept once, as FILE.1. */
const LIMIT_BYTES = 10 * 1024 * 1024;

/** Opens the log of a component for appending; the process inherits it, so its words survive the agent. */
export function openComponentLog(file: string): number {
  cutLog(file);
  return openSync(file, "a", 0o600);
}

/** Keeps a log below its limit; processes that append to it go on at its new end. */
export function cutLog(file: string): void {
  try {
    if (statSync(file).size < LIMIT_BYTES) return;
    copyFileSync(file, `${file}.1`);
    truncateSync(file, 0);
  } catch {
    // Not there yet, or the disk is full: the next turn tries again.
  }
}

/** The last 4 KiB of a log, empty if it cannot be read. */
export function lastWords(file: string): string {
  try {
    const tail = Buffer.alloc(Math.min(4096, statSync(file).size));
    const handle = openSync(file, "r");
    readSync(handle, tail, 0, tail.length, statSync(file).size - tail.length);
    closeSync(handle);
    return tail.toString();
  } catch {
    return "";
  }
}
