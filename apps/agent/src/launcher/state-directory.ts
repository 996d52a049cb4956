import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { RECORD_BYTES, STATUS_RECORDS } from "./launch-script.ts";

const run = promisify(execFile);
const FIFOS = ["out", "err", "life"] as const;

/**
 * Makes the files that a launch needs: three FIFOs, the mount stage, and a status file whose blocks are taken now,
 * so that a replica can be started again and its end be written down while the disk is full.
 */
export async function prepareStateDirectory(directory: string): Promise<void> {
  await mkdir(`${directory}/stage`, { recursive: true, mode: 0o700 });
  const missing = FIFOS.map((name) => `${directory}/${name}`).filter((path) => !existsSync(path));
  // Programs may reopen /dev/stdout under their own uid; the directory itself lets nobody else in.
  if (missing.length > 0) await run("mkfifo", ["-m", "0666", ...missing]);
  const status = `${directory}/status`;
  const size = await stat(status).then(
    (found) => found.size,
    () => 0,
  );
  const wanted = RECORD_BYTES * STATUS_RECORDS;
  if (size < wanted) await writeFile(status, " ".repeat(wanted), { mode: 0o600 });
}
