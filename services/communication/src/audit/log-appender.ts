import { setImmediate } from "node:timers/promises";
import { chainMac, type EventColumns, eventColumns, placedEventBytes, shardKey } from "@hms/audit-log";
import type { SpoolPosition } from "@hms/audit-spool";
import { binaryArray, type ServiceDatabase } from "@hms/postgres";
import { sql, type Transaction } from "kysely";
import { type CommunicationTables, type ShardHead, shardHead, spoolPosition } from "./audit-tables.ts";

/** Events for a chain, and where they lay in a spool. */
export interface LogBatch {
  readonly shard: string;
  /** Without their place in the chain. */
  readonly events: readonly Uint8Array[];
  /** Undefined for what the log says of itself: that comes from no spool. */
  readonly from?: { readonly position: SpoolPosition; readonly next: SpoolPosition };
}

/** The key of the day, as packages/audit-log keeps it. */
export interface EpochKeyHolder {
  readonly epoch: number;
  readonly epochKey: Buffer;
  advance(day: string, leastEpoch?: number): void;
}

type Database = Pick<ServiceDatabase<CommunicationTables>, "db" | "transaction">;

/** Linked without a pause: some 2 ms. */
const EVENTS_AT_ONCE = 250;

const dayOf = (microseconds: number) => new Date(microseconds / 1000).toISOString().slice(0, 10);

/** Adds events to chains; each batch is one transaction, and is added once however often it is tried. */
export class LogAppender {
  readonly #database: Database;
  readonly #keys: EpochKeyHolder;
  #day = "";

  constructor(database: Database, keys: EpochKeyHolder) {
    this.#database = database;
    this.#keys = keys;
  }

  /**
   * Adds a batch, and answers up to where the log has the spool then. A batch from another place of it than where the log
   * has got to is not added: the answer says where to go on.
   */
  async append(batch: LogBatch): Promise<SpoolPosition | undefined> {
    const recordedAt = Date.now() * 1000;
    let day = "";
    const position = await this.#database.transaction(async (transaction) => {
      const before = await lockHead(transaction, batch.shard);
      const known = await positionOf(transaction, batch);
      if (known !== undefined && !isAt(known, batch.from?.position)) return known;
      const at = Math.max(recordedAt, before.recordedAt);
      day = dayOf(at);
      if (day !== this.#day) await sql`select audit_log.ensure_day(${day}::date)`.execute(transaction);
      this.#keys.advance(day, before.epoch);
      await this.#add(transaction, batch, { ...before, recordedAt: at, epoch: this.#keys.epoch });
      return batch.from?.next;
    });
    if (day !== "") this.#day = day;
    return position;
  }

  async #add(transaction: Transaction<CommunicationTables>, batch: LogBatch, from: ShardHead): Promise<void> {
    const links = await this.#link(batch, from);
    if (links.events.length > 0) await insertEvents(transaction, links, from);
    const seq = from.seq + batch.events.length;
    const mac = links.macs.at(-1) ?? from.mac;
    await sql`update shard_head set seq = ${seq}, mac = ${mac}, epoch = ${from.epoch}, recorded_at = ${from.recordedAt}
      where shard = ${batch.shard}`.execute(transaction);
    if (batch.from === undefined) return;
    const { spoolId, segment, offset } = batch.from.next;
    await sql`insert into spool_position (spool_id, shard, segment, byte_offset)
      values (${spoolId}, ${batch.shard}, ${segment}, ${offset})
      on conflict (spool_id) do update set segment = excluded.segment, byte_offset = excluded.byte_offset`.execute(
      transaction,
    );
  }

  async #link({ shard, events }: LogBatch, { seq, mac, recordedAt }: ShardHead): Promise<Links> {
    const key = shardKey(this.#keys.epochKey, shard);
    const links: Links = { events: [], macs: [], columns: [] };
    let [at, previous] = [seq, mac];
    for (const event of events) {
      at += 1;
      const placed = placedEventBytes({ shard, seq: at, recordedAt }, event);
      previous = chainMac(key, previous, placed);
      links.events.push(placed);
      links.macs.push(previous);
      links.columns.push(eventColumns(placed));
      // Calls are served by the same thread: it is not held for longer than a few milliseconds.
      if (links.events.length % EVENTS_AT_ONCE === 0) await setImmediate();
    }
    return links;
  }
}

interface Links {
  readonly events: Buffer[];
  readonly macs: Buffer[];
  readonly columns: EventColumns[];
}

function isAt(known: SpoolPosition, at: SpoolPosition | undefined): boolean {
  return known.segment === at?.segment && known.offset === at.offset;
}

async function positionOf(
  transaction: Transaction<CommunicationTables>,
  { from }: LogBatch,
): Promise<SpoolPosition | undefined> {
  if (from === undefined) return undefined;
  const { rows } = await sql<CommunicationTables["spool_position"]>`
    select * from spool_position where spool_id = ${from.position.spoolId}`.execute(transaction);
  return rows[0] && spoolPosition(rows[0]);
}

async function lockHead(transaction: Transaction<CommunicationTables>, shard: string): Promise<ShardHead> {
  const found = () =>
    sql<CommunicationTables["shard_head"]>`select * from shard_head where shard = ${shard} for update`.execute(
      transaction,
    );
  let { rows } = await found();
  if (rows.length === 0) {
    await sql`insert into shard_head (shard) values (${shard}) on conflict do nothing`.execute(transaction);
    ({ rows } = await found());
  }
  return shardHead(rows[0] as CommunicationTables["shard_head"]);
}

async function insertEvents(
  transaction: Transaction<CommunicationTables>,
  { events, macs, columns }: Links,
  { shard, seq, epoch, recordedAt }: ShardHead,
): Promise<void> {
  const texts = (name: "actor" | "method" | "resource" | "environment" | "requestId" | "traceId" | "facts") =>
    binaryArray.text(columns.map((one) => one[name]));
  const times = binaryArray.int8(columns.map(({ time }) => time));
  const outcomes = binaryArray.int2(columns.map(({ outcome }) => outcome));
  await sql`insert into audit_log.audit_event (shard, seq, recorded_at, epoch, time, outcome, actor, method, resource,
      environment, request_id, trace_id, facts, event, mac)
    select ${shard}, ${seq}::bigint + row.n, timestamptz 'epoch' + ${recordedAt}::bigint * interval '1 microsecond', ${epoch},
      timestamptz 'epoch' + row.time * interval '1 microsecond', row.outcome, row.actor, row.method, row.resource,
      row.environment, row.request_id, row.trace_id, row.facts, row.event, row.mac
    from unnest(${times}::bigint[], ${outcomes}::smallint[], ${texts("actor")}::text[], ${texts("method")}::text[],
      ${texts("resource")}::text[], ${texts("environment")}::text[], ${texts("requestId")}::text[],
      ${texts("traceId")}::text[], ${texts("facts")}::text[], ${binaryArray.bytea(events)}::bytea[], ${binaryArray.bytea(macs)}::bytea[])
      with ordinality as row (time, outcome, actor, method, resource, environment, request_id, trace_id, facts, event,
        mac, n)
  `.execute(transaction);
}
