import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const NAME = /^(\d{10})\.spool$/;
const ID_FILE = "spool.id";

/** A segment of a spool: a file that is appended to and, once it has ended, removed as a whole. */
export interface SegmentFile {
  readonly number: number;
  readonly path: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly changedAt: number;
}

/** The path of a segment. */
export function segmentPath(directory: string, number: number): string {
  return join(directory, `${String(number).padStart(10, "0")}.spool`);
}

/** The segments of a spool in their order. */
export function segmentFiles(directory: string): SegmentFile[] {
  const numbers = readdirSync(directory).flatMap((name) => NAME.exec(name)?.[1] ?? []);
  return numbers.sort().flatMap((digits) => {
    const number = Number(digits);
    const path = segmentPath(directory, number);
    try {
      const { size: bytes, mtimeMs: changedAt } = statSync(path);
      return [{ number, path, bytes, changedAt }];
    } catch (error) {
      // Whoever empties the spool has just removed it.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  });
}

/** The spool's own id, so that no other spool at the same place is taken for it; undefined: it has none yet. */
export function readSpoolId(directory: string): string | undefined {
  try {
    return readFileSync(join(directory, ID_FILE), "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Makes the folder of a spool and its id, both once. */
export function ensureSpoolFolder(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (readSpoolId(directory) !== undefined) return;
  const draft = join(directory, `${ID_FILE}.${process.pid}`);
  writeFileSync(draft, `${randomBytes(16).toString("hex")}\n`, { mode: 0o600 });
  try {
    linkSync(draft, join(directory, ID_FILE));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}
