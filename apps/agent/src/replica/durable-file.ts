import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { HmsError } from "@hms/kernel";

/**
 * Replaces a file so that a crash leaves the old or the new text, never a mixture, and the new one survives power loss.
 * @throws HmsError RESOURCE_EXHAUSTED if the disk is full; the old text is untouched.
 */
export async function writeDurably(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  try {
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw storageError(path, error);
  }
}

/** Makes renames and deletions in a directory survive power loss. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Says what a failed write means for the person who caused it. */
export function storageError(path: string, cause: unknown): HmsError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const full = code === "ENOSPC" || code === "EDQUOT";
  return full
    ? new HmsError("RESOURCE_EXHAUSTED", `The disk of ${dirname(path)} is full. Free some space and try again.`, {
        reason: "DISK_FULL",
        cause,
      })
    : new HmsError("INTERNAL", `${path} cannot be written: ${message}`, { reason: "STORAGE_FAILED", cause });
}
