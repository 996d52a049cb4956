import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { checkpointFiles, checkpointLines } from "@hms/audit-log";

/** Files of checkpoints, one a day, one line each, that are only appended to; they lie outside the database. */
export class CheckpointFiles {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** Appends a line, on disk when it returns. */
  append(day: string, line: string): void {
    const handle = openSync(join(this.#folder, `${day}.jws`), "a", 0o600);
    try {
      writeSync(handle, `${line}\n`);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  }

  /** The last line of all; undefined: there is none. */
  last(): string | undefined {
    for (const file of checkpointFiles(this.#folder).reverse()) {
      const line = [...checkpointLines(file)].at(-1);
      if (line !== undefined) return line;
    }
    return undefined;
  }

  /** The lines behind a checkpoint, in their order; only the files that have some are read. */
  after(number: number): { number: number; line: string }[] {
    const found: { number: number; line: string }[] = [];
    for (const file of checkpointFiles(this.#folder).reverse()) {
      const lines = [...checkpointLines(file)].map((line) => ({ number: numberOf(line), line }));
      const behind = lines.filter((one) => one.number > number);
      found.unshift(...behind);
      if (behind.length < lines.length) break;
    }
    return found;
  }

  /** Every line in its order. */
  lines(): Iterable<string> {
    return checkpointLines(this.#folder);
  }
}

/** As the line says it, verified by nobody; 0 if it says nothing. */
function numberOf(line: string): number {
  try {
    return JSON.parse(Buffer.from(line.split(".")[1] ?? "", "base64url").toString()).number;
  } catch {
    return 0;
  }
}
