import { HmsError } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import { sql } from "kysely";
import type { CommunicationTables } from "./audit-tables.ts";
import type { LogBatch } from "./log-appender.ts";
import { ownEvent } from "./own-event.ts";

/** What removes days whose time is over. */
export interface RetentionOptions {
  readonly database: Pick<ServiceDatabase<CommunicationTables>, "db" | "transaction">;
  readonly append: (batch: LogBatch) => Promise<unknown>;
  /** Makes a checkpoint, which signs up to where chains were removed. */
  readonly checkpoint: () => Promise<void>;
  /** Days that are kept, 7 at least. */
  readonly keepDays: number;
  readonly failed: (error: HmsError) => void;
}

const EVERY_MS = 3600_000;

/** Removes the days of the log whose time is over: first it is signed up to where, then it is done. */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #timer: NodeJS.Timeout;
  #working: Promise<void> = Promise.resolve();

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), EVERY_MS).unref();
    this.#look();
  }

  #look(): void {
    this.#working = this.#working
      .then(() => this.removeOld())
      .catch((error) => this.#options.failed(HmsError.from(error)));
  }

  /** Removes what is older than it has to be. */
  async removeOld(now: Date = new Date()): Promise<void> {
    const { database, keepDays, append, checkpoint } = this.#options;
    const first = new Date(now.getTime() - Math.max(7, keepDays) * 86_400_000).toISOString().slice(0, 10);
    const { rows } = await sql<{ day: string }>`
      select day::text from audit_log.days() as day where day <= (now() at time zone 'utc')::date - 7`.execute(
      database.db,
    );
    const old = rows.map(({ day }) => day).filter((day) => day < first);
    const last = old.at(-1);
    if (last === undefined) return;
    const removed = await this.#note(last);
    await append(ownEvent("DaysRemoved", { days: old, removed }));
    await checkpoint();
    for (const day of old) await sql`select audit_log.remove_day(${day}::date)`.execute(database.db);
  }

  /** Keeps up to where each chain is about to be removed: the last event of each up to that day. */
  async #note(lastDay: string): Promise<Record<string, { seq: number; mac: string }>> {
    const { database } = this.#options;
    const { rows } = await sql<{ shard: string; seq: string; mac: Buffer }>`
      with last as (
        select distinct on (shard) shard, seq, mac from audit_log.audit_event
        where recorded_at < (${lastDay}::date + 1)::timestamp at time zone 'utc' order by shard, seq desc)
      update shard_head set removed_seq = last.seq, removed_mac = last.mac from last
      where shard_head.shard = last.shard and shard_head.removed_seq < last.seq
      returning shard_head.shard, last.seq, last.mac`.execute(database.db);
    return Object.fromEntries(
      rows.map(({ shard, seq, mac }) => [shard, { seq: Number(seq), mac: mac.toString("base64") }]),
    );
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#working;
  }
}
