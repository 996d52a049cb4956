import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Which services have been asked for by name, on disk, so that their addresses are open right after a restart. */
export class RememberedAddresses {
  readonly #file: string;
  readonly #keys: Set<string>;

  constructor(file: string) {
    this.#file = file;
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    this.#keys = new Set(read(file));
  }

  /** True if this one was asked for, by this process or one before. */
  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** Adds one; raises Node's error if it cannot be written, it is remembered in memory then. */
  add(key: string): void {
    if (this.#keys.has(key)) return;
    this.#keys.add(key);
    // Another data plane may have added some since: for a moment there are two.
    for (const other of read(this.#file)) this.#keys.add(other);
    const draft = `${this.#file}.${process.pid}`;
    writeFileSync(draft, JSON.stringify([...this.#keys]), { mode: 0o600 });
    renameSync(draft, this.#file);
  }
}

function read(file: string): string[] {
  try {
    const keys: unknown = JSON.parse(readFileSync(file, "utf8"));
    return Array.isArray(keys) ? keys.filter((key) => typeof key === "string") : [];
  } catch {
    // First start, or spoilt: addresses are opened when they are asked for.
    return [];
  }
}
