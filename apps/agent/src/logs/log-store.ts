import { EventEmitter } from "node:events";
import { readdir, rm, stat } from "node:fs/promises";
import { parseReplicaId } from "../replica/replica-name.ts";
import { type LogRetention, LogWriter } from "./log-writer.ts";

/** One replica's log. */
export interface StoredLog {
  replicaId: string;
  environment: string;
  service: string;
  revision: bigint;
  directory: string;
}

/** Which logs are meant; empty text means all. */
export interface LogSelection {
  environment: string;
  service: string;
  replicaId: string;
}

/** Logs of ended replicas that are kept per service, beside those of running ones. */
const KEPT_PER_SERVICE = 20;

/** Every replica's log under one directory; tells readers when something was appended. */
export class LogStore {
  readonly #root: string;
  readonly #retention: Partial<LogRetention>;
  readonly #appended = new EventEmitter<{ append: [replicaId: string] }>().setMaxListeners(0);
  readonly #writers = new Map<string, LogWriter>();

  constructor(root: string, retention: Partial<LogRetention> = {}) {
    this.#root = root;
    this.#retention = retention;
  }

  /** The writer of a replica's log: one per replica, however often it is asked for. */
  writer(replicaId: string): LogWriter {
    let writer = this.#writers.get(replicaId);
    if (!writer) {
      const onAppend = () => void this.#appended.emit("append", replicaId);
      writer = new LogWriter(this.#directory(replicaId), { retention: this.#retention, onAppend });
      this.#writers.set(replicaId, writer);
    }
    return writer;
  }

  /** Closes a replica's log; it can still be read. */
  async close(replicaId: string): Promise<void> {
    const writer = this.#writers.get(replicaId);
    this.#writers.delete(replicaId);
    await writer?.close();
  }

  /** Forgets what a replica wrote. */
  async remove(replicaId: string): Promise<void> {
    await this.close(replicaId);
    await rm(this.#directory(replicaId), { recursive: true, force: true });
  }

  /** The stored logs that are meant. */
  async list({ environment, service, replicaId }: LogSelection): Promise<StoredLog[]> {
    if (replicaId) return this.#named(replicaId, { environment, service });
    let paths = environment ? [environment] : await names(this.#root);
    paths = service ? paths.map((path) => `${path}/${service}`) : await this.#below(paths);
    const replicaIds = await this.#below(await this.#below(paths));
    return (await Promise.all(replicaIds.map((each) => this.#named(each, { environment, service })))).flat();
  }

  /** Calls back after each append until the answer is called. */
  onAppend(listener: (replicaId: string) => void): () => void {
    this.#appended.on("append", listener);
    return () => void this.#appended.off("append", listener);
  }

  /** Deletes the oldest logs of a service's ended replicas, beyond the 20 newest. */
  async prune(environment: string, service: string, inUse: (replicaId: string) => boolean): Promise<void> {
    const ended = (await this.list({ environment, service, replicaId: "" })).filter((log) => !inUse(log.replicaId));
    const dated = await Promise.all(
      ended.map(async (log) => ({
        log,
        at: await stat(log.directory).then(
          (found) => found.mtimeMs,
          () => 0,
        ),
      })),
    );
    dated.sort((a, b) => b.at - a.at);
    for (const { log } of dated.slice(KEPT_PER_SERVICE)) await this.remove(log.replicaId);
  }

  #directory(replicaId: string): string {
    parseReplicaId(replicaId);
    return `${this.#root}/${replicaId}`;
  }

  async #below(paths: readonly string[]): Promise<string[]> {
    const found = paths.map(async (path) => (await names(`${this.#root}/${path}`)).map((name) => `${path}/${name}`));
    return (await Promise.all(found)).flat();
  }

  async #named(replicaId: string, wanted: { environment: string; service: string }): Promise<StoredLog[]> {
    const { environment, service, revision } = parseReplicaId(replicaId);
    if (wanted.environment && wanted.environment !== environment) return [];
    if (wanted.service && wanted.service !== service) return [];
    const directory = this.#directory(replicaId);
    const exists = await stat(directory).then(
      () => true,
      () => false,
    );
    return exists ? [{ replicaId, environment, service, revision, directory }] : [];
  }
}

async function names(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return [];
    throw error;
  });
}
