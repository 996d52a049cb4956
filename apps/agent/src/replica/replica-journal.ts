import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { fromJsonString, toJson } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import { syncDirectory, writeDurably } from "./durable-file.ts";
import { replicaKey } from "./replica-name.ts";

/** What is decided once for a replica: what to run and where. */
export interface ReplicaRecord {
  spec: agent.ReplicaSpec;
  /** Its port, and what its uid is made of. */
  slot: number;
  /** True if it was being ended when the record was read. */
  stopping: boolean;
}

/** What happens to a replica. Losing the last write costs a count or a delay, never a replica. */
export interface ReplicaLife {
  /** Launches so far. */
  attempt: number;
  restarts: number;
  /** Ends in a row after less than a minute; sets the back-off. */
  failures: number;
  startedAtMs: number;
  nextStartAtMs: number;
  bootId: string;
  lastExit?: { code: number; signal: string; atMs: number; outOfMemory: boolean; launchError: string } | undefined;
}

/** A record that could not be read; the file has been set aside. */
export interface SpoiltRecord {
  path: string;
  reason: string;
}

const SPEC = ".json";
const STOPPING = ".stopping.json";
const LIFE = ".life.json";

/** Keeps the specs and lives of replicas on disk, one pair of files per replica. */
export class ReplicaJournal {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Reads everything; what is not readable is renamed to end in ".spoilt" and told. */
  async open(): Promise<{
    records: { record: ReplicaRecord; life: ReplicaLife | undefined }[];
    spoilt: SpoiltRecord[];
  }> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const records: { record: ReplicaRecord; life: ReplicaLife | undefined }[] = [];
    const spoilt: SpoiltRecord[] = [];
    for (const name of (await readdir(this.#directory)).sort()) {
      const path = `${this.#directory}/${name}`;
      if (name.endsWith(".new")) await rm(path, { force: true });
      if (!name.endsWith(SPEC) || name.endsWith(LIFE)) continue;
      try {
        const record = { ...readRecord(await readFile(path, "utf8")), stopping: name.endsWith(STOPPING) };
        const expected = replicaKey(record.spec.replicaId) + (record.stopping ? STOPPING : SPEC);
        if (expected !== name) throw new Error(`it describes ${record.spec.replicaId}`);
        records.push({ record, life: await this.#readLife(record.spec.replicaId) });
      } catch (error) {
        await rename(path, `${path}.spoilt`);
        spoilt.push({ path: `${path}.spoilt`, reason: (error as Error).message });
      }
    }
    return { records, spoilt };
  }

  /** Promises to keep the replica running over agent and machine restarts. @throws HmsError RESOURCE_EXHAUSTED. */
  async add(record: ReplicaRecord): Promise<void> {
    const spec = toJson(agent.ReplicaSpecSchema, record.spec);
    await writeDurably(this.#path(record.spec.replicaId, SPEC), `${JSON.stringify({ slot: record.slot, spec })}\n`);
  }

  /** Withdraws the promise: from here on the replica will be ended, not started. Needs no disk space. */
  async markStopping(replicaId: string): Promise<void> {
    const moved = rename(this.#path(replicaId, SPEC), this.#path(replicaId, STOPPING));
    await moved.catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") throw error;
    });
    await syncDirectory(this.#directory);
  }

  /** Forgets the replica. Needs no disk space. */
  async forget(replicaId: string): Promise<void> {
    for (const suffix of [SPEC, LIFE, STOPPING]) await rm(this.#path(replicaId, suffix), { force: true });
    await syncDirectory(this.#directory);
  }

  /** Writes down what happened to a replica. @throws HmsError RESOURCE_EXHAUSTED. */
  async saveLife(replicaId: string, life: ReplicaLife): Promise<void> {
    await writeDurably(this.#path(replicaId, LIFE), `${JSON.stringify(life)}\n`);
  }

  async #readLife(replicaId: string): Promise<ReplicaLife | undefined> {
    try {
      const life = JSON.parse(await readFile(this.#path(replicaId, LIFE), "utf8")) as ReplicaLife;
      return Number.isSafeInteger(life.attempt) ? life : undefined;
    } catch {
      // Never written, or spoilt: counts start again from zero.
      return undefined;
    }
  }

  #path(replicaId: string, suffix: string): string {
    return `${this.#directory}/${replicaKey(replicaId)}${suffix}`;
  }
}

function readRecord(text: string): { spec: agent.ReplicaSpec; slot: number } {
  const { slot, spec } = JSON.parse(text) as { slot: unknown; spec: unknown };
  if (typeof slot !== "number" || !Number.isSafeInteger(slot)) throw new Error("it has no slot");
  return { slot, spec: fromJsonString(agent.ReplicaSpecSchema, JSON.stringify(spec)) };
}
