import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const NAME = /^\d{4}-\d{2}-\d{2}\.jws$/;

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
    for (const name of this.#names().reverse()) {
      const line = lines(join(this.#folder, name)).at(-1);
      if (line !== undefined) return line;
    }
    return undefined;
  }

  /** Every line in its order. */
  *lines(): Generator<string> {
    for (const name of this.#names()) yield* lines(join(this.#folder, name));
  }

  #names(): string[] {
    return readdirSync(this.#folder)
      .filter((name) => NAME.test(name))
      .sort();
  }
}

/** A crash may have cut the last line short; what is not whole is no line. */
function lines(path: string): string[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "");
}
