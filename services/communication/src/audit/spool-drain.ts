import { readdirSync } from "node:fs";
import { join } from "node:path";
import { LOG_SHARD } from "@hms/audit-log";
import { type SpoolBatch, type SpoolPosition, SpoolReader } from "@hms/audit-spool";
import { HmsError } from "@hms/kernel";
import type { LogBatch } from "./log-appender.ts";
import { ownEvent } from "./own-event.ts";

/** What empties spools. */
export interface SpoolDrainOptions {
  /** The folder in which every spool of this machine has its own. */
  readonly spools: string;
  /** Adds a batch, and answers up to where the log has its spool. */
  readonly append: (batch: LogBatch) => Promise<SpoolPosition | undefined>;
  /** Up to where the log has a spool; undefined: it has nothing of it. */
  readonly positionOf: (spool: { shard: string; spoolId: string }) => Promise<SpoolPosition | undefined>;
  /** The only spool of the folder that is emptied; default all. */
  readonly only?: string;
  /** True where another process may empty the same spool: then it is only taken what that has not. Default false. */
  readonly isShared?: boolean;
  readonly pollMs: number;
  /** Events of a batch. */
  readonly most: number;
  readonly failed: (error: HmsError) => void;
}

/** Folders beside the spools that are none. */
const NO_SPOOLS = new Set(["checkpoints"]);
const LONGEST_PAUSE_MS = 5000;

/** Takes the events of all spools of this machine into the log, and removes what is in it from them. */
export class SpoolDrain {
  readonly #options: SpoolDrainOptions;
  readonly #readers = new Map<string, SpoolReader>();
  readonly #positions = new Map<string, SpoolPosition | undefined>();
  readonly #end = new AbortController();
  readonly #running: Promise<void>;
  /** Why nothing comes into the log; undefined: it does. */
  failure: HmsError | undefined;

  constructor(options: SpoolDrainOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    const { pollMs, failed } = this.#options;
    const { signal } = this.#end;
    let pauseMs = pollMs;
    while (!signal.aborted) {
      try {
        const isBusy = await this.drainOnce();
        this.failure = undefined;
        pauseMs = isBusy ? 0 : pollMs;
      } catch (error) {
        const failure = HmsError.from(error);
        if (this.failure?.message !== failure.message) failed(failure);
        this.failure = failure;
        // What another process has moved on is asked for again.
        this.#positions.clear();
        pauseMs = Math.min(Math.max(pauseMs * 2, pollMs), LONGEST_PAUSE_MS);
      }
      await pause(pauseMs, signal);
    }
  }

  /** Takes one batch of each spool; true if there is more. */
  async drainOnce(): Promise<boolean> {
    const taken = await Promise.all(this.#shards().map((shard) => this.#drainShard(shard)));
    return taken.some((events) => events > 0);
  }

  #shards(): string[] {
    const { only } = this.#options;
    if (only !== undefined) return [only];
    return readdirSync(this.#options.spools, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !NO_SPOOLS.has(entry.name) && entry.name !== LOG_SHARD)
      .map(({ name }) => name);
  }

  #reader(shard: string): SpoolReader {
    const known = this.#readers.get(shard);
    if (known !== undefined) return known;
    const reader = new SpoolReader(join(this.#options.spools, shard), this.#options.most);
    this.#readers.set(shard, reader);
    return reader;
  }

  async #drainShard(shard: string): Promise<number> {
    const reader = this.#reader(shard);
    const { spoolId } = reader;
    if (spoolId === undefined) return 0;
    if (this.#positions.get(shard)?.spoolId !== spoolId) {
      this.#positions.set(shard, await this.#options.positionOf({ shard, spoolId }));
    }
    const batch = reader.read(this.#positions.get(shard));
    if (batch === undefined) return 0;
    if (this.#options.isShared && (await this.#hasMovedOn({ shard, spoolId }))) return 0;
    if (batch.damage) await this.#tellDamage(shard, batch);
    const position = await this.#options.append({ shard, events: batch.events, from: batch });
    this.#positions.set(shard, position);
    const isTaken = position?.segment === batch.next.segment && position.offset === batch.next.offset;
    if (isTaken) await reader.remove(batch);
    return Math.max(1, batch.events.length);
  }

  async #hasMovedOn(spool: { shard: string; spoolId: string }): Promise<boolean> {
    const before = this.#positions.get(spool.shard);
    const position = await this.#options.positionOf(spool);
    this.#positions.set(spool.shard, position);
    return position?.segment !== before?.segment || position?.offset !== before?.offset;
  }

  /** Told before it is left behind: a crash in between tells it twice, never not at all. */
  async #tellDamage(shard: string, { damage }: SpoolBatch): Promise<void> {
    await this.#options.append(ownEvent("SpoolDamaged", { spool: shard, ...damage }));
    const what = `The audit spool ${shard} is damaged in its segment ${damage?.segment} from byte ${damage?.offset} on; the segment is kept as *.damaged.`;
    this.#options.failed(new HmsError("DATA_LOSS", what, { reason: "AUDIT_SPOOL_DAMAGED" }));
  }

  /** Bytes of each spool that are not in the log yet. */
  waiting(): Map<string, number> {
    return new Map(
      this.#shards().map((shard) => [shard, this.#reader(shard).waitingBytes(this.#positions.get(shard))]),
    );
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#running;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
