import { readFileSync, rmSync } from "node:fs";
import type { ProcessIdentity } from "../launcher/process-identity.ts";
import { replaceSmallFile } from "../small-file.ts";

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

/** Keeps a note; also on a full disk, if there was one before. */
export function writeNote(file: string, note: ComponentNote): void {
  replaceSmallFile(file, JSON.stringify(note));
}

/** Forgets a note. */
export function dropNote(file: string): void {
  rmSync(file, { force: true });
}
