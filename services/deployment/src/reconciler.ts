import { HmsError } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import type { Logger } from "@hms/telemetry";
import type { HealthKeeper } from "./health/health-keeper.ts";
import type { ReplicaHealth } from "./health/replica-health.ts";
import type { ObservedReplicas } from "./observed-replicas.ts";
import type { ReplicaKeeper } from "./replica-keeper.ts";
import { keyOfReplica, type ServiceBook } from "./service-book.ts";
import type { ServiceKey } from "./service-record.ts";
import { noteGone, noteProven, readServices } from "./service-store.ts";
import type { DeploymentTables } from "./tables.ts";

/** What a reconciler compares and mends. */
export interface ReconcilerParts {
  db: ServiceDatabase<DeploymentTables>["db"];
  book: ServiceBook;
  observed: ObservedReplicas;
  health: HealthKeeper;
  replicas: ReplicaKeeper;
  /** Notes what has proved itself where the database is behind; false: it is the one to be told. Default: always. */
  noteElsewhere?: (key: ServiceKey, id: string, proven: string) => boolean;
  /** Called when the database has been told that a replica has proved itself. */
  onProven?: (key: ServiceKey) => void;
  log: Logger;
}

const SWEEP_MS = 10_000;
/** Changes come in groups. */
const SOON_MS = 200;

/**
 * Keeps what runs in step with what is on record: starts what is missing, ends strays of services it knows, notes what
 * has proved itself. It acts on events and, for what events cannot tell, every 10 s.
 */
export class Reconciler {
  readonly #parts: ReconcilerParts;
  #next: { timer: NodeJS.Timeout; atMs: number } | undefined;
  /** Replicas that are being mended. */
  readonly #mending = new Set<string>();
  #isOpen = false;
  #isRunning = false;

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    parts.observed.onChange((id) => this.#onReport(id));
    parts.health.onChange((id, health) => void this.#noteProven(id, health));
  }

  /** Begins; everything that runs must be known by now. */
  open(): void {
    this.#isOpen = true;
    this.#schedule(0);
  }

  /** Ends; what runs goes on. */
  close(): void {
    this.#isOpen = false;
    clearTimeout(this.#next?.timer);
    this.#next = undefined;
  }

  #onReport(id: string): void {
    const { book, observed } = this.#parts;
    const isMeant = book.replica(id)?.replica.phase === "running";
    if (isMeant !== observed.isThere(id)) this.#schedule(SOON_MS);
  }

  /** Asks for a sweep within a time; the earliest that is asked for is the next. */
  #schedule(inMs: number): void {
    const atMs = performance.now() + inMs;
    if (!this.#isOpen || (this.#next && this.#next.atMs <= atMs)) return;
    clearTimeout(this.#next?.timer);
    this.#next = { atMs, timer: setTimeout(() => void this.#sweep(), inMs).unref() };
  }

  async #sweep(): Promise<void> {
    this.#next = undefined;
    if (this.#isRunning) return this.#schedule(SOON_MS);
    this.#isRunning = true;
    try {
      // What takes long to end, or never does, holds up nothing else.
      for (const mend of this.#differences()) void mend();
      for (const { replicas } of this.#parts.book.all()) {
        for (const { id } of replicas) await this.#noteProven(id, this.#parts.health.of(id));
      }
    } finally {
      this.#isRunning = false;
      this.#schedule(SWEEP_MS);
    }
  }

  #differences(): (() => Promise<void>)[] {
    const { book, observed } = this.#parts;
    const missing: string[] = [];
    const leaving: string[] = [];
    for (const { replicas } of book.all()) {
      for (const { id, phase } of replicas) {
        if (phase === "running" && !observed.isThere(id)) missing.push(id);
        if (phase === "stopping") leaving.push(id);
      }
    }
    const strays = observed.ids().filter((id) => book.get(keyOfReplica(id)) && !book.replica(id));
    return [
      ...missing.map((id) => () => this.#mend(id, "a replica was missing and is started", () => this.#start(id))),
      ...strays.map((id) => () => this.#mend(id, "a replica that nobody wants is ended", () => this.#stop(id))),
      ...leaving.map((id) => () => this.#mend(id, "a replica that was to go is ended", () => this.#finishStop(id))),
    ];
  }

  /** Does one thing at a time for each replica. Never rejects. */
  async #mend(replicaId: string, what: string, work: () => Promise<void>): Promise<void> {
    const { log } = this.#parts;
    if (this.#mending.has(replicaId)) return;
    this.#mending.add(replicaId);
    try {
      log.info(what, { replicaId });
      await work();
    } catch (error) {
      log.warn(`${what}, which failed; it is tried again`, { replicaId, error: HmsError.from(error) });
    } finally {
      this.#mending.delete(replicaId);
    }
  }

  #start(id: string): Promise<void> {
    return this.#parts.replicas.start(id);
  }

  #stop(id: string): Promise<void> {
    return this.#parts.replicas.stop(id);
  }

  async #finishStop(id: string): Promise<void> {
    const { db, book } = this.#parts;
    const key = keyOfReplica(id);
    await this.#stop(id);
    // A rollout that stops it itself says so in its journal.
    if (book.get(key)?.running || book.isHeld(key)) return;
    await noteGone(db, key.environment, id);
    book.put(key, (await readServices(db, key))[0]);
  }

  /** So that a restarted server need not doubt a replica that has been well all the time. */
  async #noteProven(id: string, { state, instance }: ReplicaHealth): Promise<void> {
    const { db, book, noteElsewhere, onProven, log } = this.#parts;
    const key = keyOfReplica(id);
    const replica = book.replica(id)?.replica;
    if (state !== "ready" || replica === undefined || replica.proven === instance) return;
    try {
      if (!noteElsewhere?.(key, id, instance)) {
        await noteProven(db, { environment: key.environment, id, proven: instance });
      }
      const now = book.replica(id)?.replica;
      if (now) now.proven = instance;
      onProven?.(key);
    } catch (error) {
      log.debug("it was not noted that a replica is well", { replicaId: id, error });
    }
  }
}
