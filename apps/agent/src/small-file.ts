import { closeSync, fstatSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from "node:fs";

/**
 * Replaces a small JSON file as a whole. On a full disk it is overwritten where it lies, which takes no room; that is one
 * write, so a process that dies leaves the old or the new text. Raises Node's error if there is room for neither.
 */
export function replaceSmallFile(file: string, text: string): void {
  const draft = `${file}.new`;
  try {
    writeFileSync(draft, text, { mode: 0o600 });
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    if (!isDiskFull(error)) throw error;
    overwriteSmallFile(file, text);
  }
}

/** Overwrites a JSON file within the room that it has; what is left of it becomes blanks, which JSON allows. */
export function overwriteSmallFile(file: string, text: string): void {
  const handle = openSync(file, "r+");
  try {
    writeSync(handle, text.padEnd(fstatSync(handle).size), 0);
  } finally {
    closeSync(handle);
  }
}

/** True for what a write says when there is no room left. */
export function isDiskFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT";
}
