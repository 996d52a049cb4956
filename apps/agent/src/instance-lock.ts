import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { InstancePaths } from "@hms/config";
import { HmsError } from "@hms/kernel";
import { identityOf, isAlive, type ProcessIdentity } from "./launcher/process-identity.ts";
import { readProcess } from "./launcher/process-table.ts";
import { isDiskFull, overwriteSmallFile } from "./small-file.ts";

/**
 * Takes the installation for this process; the lock of an agent that has died counts for nothing.
 * @throws HmsError ABORTED naming the agent that has it.
 */
export function takeInstanceLock(paths: InstancePaths): Disposable {
  const file = `${paths.run}/agent.lock`;
  const own = readProcess(process.pid);
  if (own === undefined) throw new HmsError("INTERNAL", "The agent cannot read its own process entry.");
  const draft = `${file}.${process.pid}`;
  try {
    writeDraft(draft, JSON.stringify(identityOf(own)), { file, paths });
    claim(file, draft, paths);
  } finally {
    rmSync(draft, { force: true });
  }
  return { [Symbol.dispose]: () => rmSync(file, { force: true }) };
}

interface Lock {
  file: string;
  paths: InstancePaths;
}

/** On a full disk the file of the agent that died is all the room there is. */
function writeDraft(draft: string, text: string, { file, paths }: Lock): void {
  try {
    writeFileSync(draft, text, { mode: 0o600 });
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    requireDead(file, paths);
    renameSync(file, draft);
    overwriteSmallFile(draft, text);
  }
}

function claim(file: string, draft: string, paths: InstancePaths): void {
  for (;;) {
    try {
      linkSync(draft, file);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    requireDead(file, paths);
    setAside(file);
  }
}

function requireDead(file: string, paths: InstancePaths): void {
  const holder = readHolder(file);
  if (holder && isAlive(holder)) {
    const other = paths.instance === "default" ? "two" : `${paths.instance}-2`;
    throw new HmsError(
      "ABORTED",
      `Instance "${paths.instance}" is kept by another agent already (pid ${holder.pid}, data in ${paths.data}). Stop it with \`hms-sys down\`, or start another one with \`--instance ${other}\`.`,
    );
  }
}

function readHolder(file: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as ProcessIdentity;
  } catch {
    // Gone meanwhile, or cut short by a crash: nobody holds it.
    return undefined;
  }
}

/** Of two agents that find a dead lock only one renames it; the other finds the new one. */
function setAside(file: string): void {
  try {
    renameSync(file, `${file}.stale`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
