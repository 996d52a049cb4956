import { type Checkpoint, type CheckpointSigner, checkpointHash, readCheckpoint } from "@hms/audit-log";
import { HmsError } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import { sql } from "kysely";
import { type CommunicationTables, type ShardHead, shardHead } from "./audit-tables.ts";
import type { CheckpointFiles } from "./checkpoint-files.ts";
import type { CheckpointSink } from "./checkpoint-sink.ts";
import type { LogBatch } from "./log-appender.ts";
import { ownEvent } from "./own-event.ts";

/** What checkpoints are made with. */
export interface CheckpointerOptions {
  readonly database: Pick<ServiceDatabase<CommunicationTables>, "db">;
  readonly signer: CheckpointSigner;
  readonly files: CheckpointFiles;
  readonly sink: CheckpointSink | undefined;
  readonly append: (batch: LogBatch) => Promise<unknown>;
  /** At least this often; default each minute. */
  readonly everyMs?: number;
  /** The first one comes this soon; default after 2 s. */
  readonly firstMs?: number;
  /** And after so many events; default 1000, but at most each second. */
  readonly everyEvents?: number;
  readonly failed: (error: HmsError) => void;
}

const LEAST_PAUSE_MS = 1000;
const FIRST_MS = 2000;

/** Signs how far the chains go, minute by minute, and lets the log tell that it lives. */
export class Checkpointer {
  readonly #options: CheckpointerOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #first: NodeJS.Timeout;
  #events = 0;
  #madeAt = 0;
  #making: Promise<void> = Promise.resolve();
  #last: { number: number; hash: string; time: Date } | undefined;
  /** Why no checkpoint could be made; undefined: it could. */
  failure: HmsError | undefined;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    const { everyMs = 60_000, firstMs = FIRST_MS } = options;
    this.#timer = setInterval(() => this.#soon(true), everyMs).unref();
    // What a restart has brought is not left unproven for a minute.
    this.#first = setTimeout(() => this.#soon(true), firstMs).unref();
  }

  /** The last one that was made. */
  get last(): { number: number; time: Date } | undefined {
    return this.#last;
  }

  /** Hears of events that came into the log. */
  noteEvents(count: number): void {
    this.#events += count;
    const { everyEvents = 1000 } = this.#options;
    if (this.#events >= everyEvents && Date.now() - this.#madeAt >= LEAST_PAUSE_MS) this.#soon(false);
  }

  #soon(withHeartbeat: boolean): void {
    this.#events = 0;
    this.#madeAt = Date.now();
    void this.make(withHeartbeat).catch(() => {});
  }

  /** Makes a checkpoint now, one after the other. */
  make(withHeartbeat: boolean): Promise<void> {
    const made = this.#making.then(() => this.#make(withHeartbeat));
    this.#making = made.catch((error) => {
      const failure = HmsError.from(error);
      if (this.failure?.message !== failure.message) this.#options.failed(failure);
      this.failure = failure;
    });
    return made;
  }

  async #make(withHeartbeat: boolean): Promise<void> {
    const { database, signer, files, sink, append } = this.#options;
    this.#last ??= await this.#readLast();
    const { rows } = await sql<CommunicationTables["shard_head"]>`select * from shard_head`.execute(database.db);
    const time = new Date();
    const number = this.#last.number + 1;
    const line = signer.sign(checkpointOf(rows.map(shardHead), { number, time, previous: this.#last.hash }));
    files.append(time.toISOString().slice(0, 10), line);
    const hash = checkpointHash(line);
    this.#last = { number, hash, time };
    await sql`insert into checkpoint_head (number, line_sha256, time) values (${number}, ${hash}, ${time})
      on conflict (one) do update set number = excluded.number, line_sha256 = excluded.line_sha256,
        time = excluded.time`.execute(database.db);
    this.failure = undefined;
    sink?.offer(number, line);
    if (withHeartbeat) await append(ownEvent("Heartbeat", { checkpoint: number }));
  }

  /** The file may be one ahead of the database; if it is behind, somebody has shortened it, and the numbers go on. */
  async #readLast(): Promise<{ number: number; hash: string; time: Date }> {
    const { database, files, signer } = this.#options;
    const { rows } = await sql<CommunicationTables["checkpoint_head"]>`select * from checkpoint_head`.execute(
      database.db,
    );
    const kept = rows[0] && { number: Number(rows[0].number), hash: rows[0].line_sha256, time: rows[0].time };
    const line = files.last();
    const read = line === undefined ? undefined : readCheckpoint(line, signer.publicKey);
    if (line !== undefined && read !== undefined && read.number > (kept?.number ?? 0)) {
      return { number: read.number, hash: checkpointHash(line), time: new Date(read.time) };
    }
    return kept ?? { number: 0, hash: "", time: new Date(0) };
  }

  async stop(): Promise<void> {
    clearTimeout(this.#first);
    clearInterval(this.#timer);
    await this.#making;
  }
}

function checkpointOf(heads: readonly ShardHead[], rest: { number: number; time: Date; previous: string }): Checkpoint {
  const entries = (pick: (head: ShardHead) => { seq: number; mac: Buffer }) =>
    heads
      .map((head) => [head.shard, pick(head)] as const)
      .filter(([, { seq }]) => seq > 0)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([shard, { seq, mac }]) => [shard, { seq, mac: mac.toString("base64") }] as const);
  const removed = Object.fromEntries(entries(({ removed }) => removed));
  const { number, time, previous } = rest;
  const shards = Object.fromEntries(entries((head) => head));
  const hasRemoved = Object.keys(removed).length > 0;
  return { number, time: time.toISOString(), previous, shards, ...(hasRemoved ? { removed } : {}) };
}
