import { createHash } from "node:crypto";
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
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";

const NAME = /^snapshot\.(\d{16})$/;
const KEPT = 2;

/** Snapshots on disk: the newest two generations, each whole or not there. */
export class SnapshotStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** The newest snapshot that is whole, and why newer ones were not taken. */
  load(): { snapshot: mesh.Snapshot | undefined; spoilt: string[] } {
    const spoilt: string[] = [];
    for (const file of this.#files()) {
      try {
        return { snapshot: read(`${this.#folder}/${file}`), spoilt };
      } catch (error) {
        spoilt.push(`${file}: ${(error as Error).message}`);
      }
    }
    return { snapshot: undefined, spoilt };
  }

  /**
   * Keeps a snapshot as the newest generation, on disk before this returns. While one data plane replaces another, both
   * keep theirs here at the same time.
   */
  save(snapshot: mesh.Snapshot): void {
    const newest = Number(NAME.exec(this.#files()[0] ?? "")?.[1] ?? 0);
    const file = `${this.#folder}/snapshot.${String(newest + 1).padStart(16, "0")}`;
    const draft = `${file}.new.${process.pid}`;
    try {
      writeWhole(draft, toBinary(mesh.SnapshotSchema, snapshot));
      renameSync(draft, file);
    } finally {
      rmSync(draft, { force: true });
    }
    for (const old of this.#files().slice(KEPT)) rmSync(`${this.#folder}/${old}`, { force: true });
  }

  #files(): string[] {
    return readdirSync(this.#folder)
      .filter((name) => NAME.test(name))
      .sort()
      .reverse();
  }
}

function writeWhole(file: string, bytes: Uint8Array): void {
  const handle = openSync(file, "w", 0o600);
  try {
    for (let written = 0; written < bytes.length; ) written += writeSync(handle, bytes, written);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function read(file: string): mesh.Snapshot {
  const snapshot = fromBinary(mesh.SnapshotSchema, readFileSync(file));
  checkedContent(snapshot);
  return snapshot;
}

/**
 * The content of a snapshot whose checksum is right.
 * @throws Error if it is not.
 */
export function checkedContent(snapshot: mesh.Snapshot): mesh.SnapshotContent {
  const sum = createHash("sha256").update(snapshot.content).digest();
  if (!sum.equals(snapshot.sha256)) throw new Error("its checksum is wrong");
  return fromBinary(mesh.SnapshotContentSchema, snapshot.content);
}

/** The content of a data plane that has never been told anything. */
export const emptyContent = create(mesh.SnapshotContentSchema);
