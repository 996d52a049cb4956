import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import type { mesh } from "@hms/contracts";
import { decodeSnapshotFile, encodeSnapshotFile } from "./snapshot-file.ts";

const NAME = /^snapshot\.(\d{16})$/;
const DRAFT = /^snapshot\.\d{16}\.\d+$/;
const KEPT = 2;

/**
 * Snapshots on disk: the two that were written last, each whole or not there. Their order is that of writing, not of
 * their versions: after a restored backup the newest one has a lower version than the one before.
 */
export class SnapshotStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** Tries the snapshots from the newest on; answers with the first that `use` takes, and why the others were not. */
  load<T>(use: (snapshot: mesh.Snapshot) => T): { used: T | undefined; spoilt: string[] } {
    const spoilt: string[] = [];
    this.#remove(readdirSync(this.#folder).filter((name) => DRAFT.test(name)));
    for (const file of this.#files()) {
      try {
        return { used: use(decodeSnapshotFile(readFileSync(`${this.#folder}/${file}`))), spoilt };
      } catch (error) {
        spoilt.push(`${file}: ${(error as Error).message}`);
      }
    }
    return { used: undefined, spoilt };
  }

  /** Keeps a snapshot as the newest generation; it is on disk when this returns. Raises Node's error if it cannot be. */
  save(snapshot: mesh.Snapshot): void {
    const bytes = encodeSnapshotFile(snapshot);
    const [newest] = this.#files();
    if (newest !== undefined && this.#holds(newest, bytes)) return;
    const number = Number(NAME.exec(newest ?? "")?.[1] ?? 0) + 1;
    const file = `${this.#folder}/snapshot.${String(number).padStart(16, "0")}`;
    writeDurably(file, bytes);
    syncFolder(this.#folder);
    this.#remove(this.#files().slice(KEPT));
  }

  #holds(file: string, bytes: Buffer): boolean {
    try {
      return readFileSync(`${this.#folder}/${file}`).equals(bytes);
    } catch {
      return false;
    }
  }

  #remove(names: readonly string[]): void {
    for (const name of names) rmSync(`${this.#folder}/${name}`, { force: true });
  }

  #files(): string[] {
    return readdirSync(this.#folder)
      .filter((name) => NAME.test(name))
      .sort()
      .reverse();
  }
}

function writeDurably(file: string, bytes: Buffer): void {
  const draft = `${file}.${process.pid}`;
  const handle = openSync(draft, "w", 0o600);
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(handle, bytes, written);
    fsyncSync(handle);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  } finally {
    closeSync(handle);
  }
  renameSync(draft, file);
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
