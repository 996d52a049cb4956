import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { segmentFiles } from "./segment-files.ts";

/** Bytes at which a spool takes nothing more unless it is told otherwise: 256 MiB. */
export const SPOOL_BYTES: number = 256 * 1024 * 1024;

const BYTES_PER_MIB = 1024 * 1024;

/** `maxBytes` of a spool whose operator says MiB, or nothing. */
export function spoolMaxBytes({ auditSpoolMiB }: { auditSpoolMiB: number | undefined }): number | undefined {
  return auditSpoolMiB === undefined ? undefined : auditSpoolMiB * BYTES_PER_MIB;
}

/** What a spool holds, and at how much it takes nothing more. */
export interface SpoolSize {
  readonly bytes: number;
  readonly limit: number;
}

const limitFile = (directory: string) => join(directory, "limit");

/** Bytes at which the spool of a directory takes nothing more, as the process said that opened it last. */
export function spoolLimit(directory: string): number {
  try {
    const limit = Number(readFileSync(limitFile(directory), "utf8"));
    return Number.isSafeInteger(limit) && limit > 0 ? limit : SPOOL_BYTES;
  } catch {
    return SPOOL_BYTES;
  }
}

/** Tells others, who see the disk only, at how many bytes a spool takes nothing more. */
export function noteSpoolLimit(directory: string, limit: number): void {
  if (limit === SPOOL_BYTES) rmSync(limitFile(directory), { force: true });
  else writeFileSync(limitFile(directory), `${limit}\n`, { mode: 0o600 });
}

/** What the spools of a folder hold, by their names; looks at the disk only, so it answers whatever runs. */
export function spoolSizes(folder: string): Map<string, SpoolSize> {
  const entries = existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : [];
  const spools = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  return new Map(
    spools.map((name) => {
      const directory = join(folder, name);
      const bytes = segmentFiles(directory).reduce((sum, { bytes: own }) => sum + own, 0);
      return [name, { bytes, limit: spoolLimit(directory) }];
    }),
  );
}
