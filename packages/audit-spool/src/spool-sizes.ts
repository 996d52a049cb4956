import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { segmentFiles } from "./segment-files.ts";

/** Bytes at which a spool takes nothing more unless it is told otherwise: 256 MiB. */
export const SPOOL_BYTES: number = 256 * 1024 * 1024;

/** Bytes that the spools of a folder hold, by their names; looks at the disk only, so it answers whatever runs. */
export function spoolSizes(folder: string): Map<string, number> {
  const entries = existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : [];
  const spools = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  return new Map(
    spools.map((name) => [name, segmentFiles(join(folder, name)).reduce((sum, { bytes }) => sum + bytes, 0)]),
  );
}
