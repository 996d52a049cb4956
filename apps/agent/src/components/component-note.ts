import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { ProcessIdentity } from "../launcher/process-identity.ts";

/** What is kept of a component so that the next agent finds it. */
export interface ComponentNote {
  identity: ProcessIdentity;
  startedAt: string;
  restarts: number;
}

/** Reads a note; undefined if there is none or it cannot be read: then nothing is adopted. */
export function readNote(file: string): ComponentNote | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as ComponentNote;
  } catch {
    return undefined;
  }
}

/** Keeps a note; atomic. */
export function writeNote(file: string, note: ComponentNote): void {
  writeFileSync(`${file}.new`, JSON.stringify(note), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Forgets a note. */
export function dropNote(file: string): void {
  rmSync(file, { force: true });
}
