import { timestampDate } from "@bufbuild/protobuf/wkt";
import { type EventColumns, LOG_SHARD, type LogRow } from "@hms/audit-log";
import type { SpoolPosition } from "@hms/audit-spool";
import type { audit } from "@hms/contracts";
import type { ServiceDatabase } from "@hms/postgres";
import { type RawBuilder, sql } from "kysely";
import { type CommunicationTables, type ShardHead, shardHead, spoolPosition } from "./audit-tables.ts";
import type { PagePlace } from "./event-page.ts";

/** What is searched for: every condition that is not empty has to be met. */
export type SearchQuery = Pick<
  audit.SearchEventsRequest,
  | "actor"
  | "method"
  | "outcome"
  | "resource"
  | "environment"
  | "requestId"
  | "traceId"
  | "shard"
  | "includeHeartbeats"
  | "code"
  | "resourceType"
  | "policyId"
  | "address"
  | "credential"
> &
  Pick<Partial<audit.SearchEventsRequest>, "startTime" | "endTime">;

/** An event that was found. */
export interface FoundEvent extends PagePlace {
  readonly event: Buffer;
  /** What it is about. */
  readonly resource: string;
  /** Empty: the platform as a whole. */
  readonly environment: string;
}

/** Where a page begins, how many events it has at most, and what they have to be beside the query. */
export interface SearchPage {
  readonly after: PagePlace | undefined;
  readonly limit: number;
  readonly where: RawBuilder<boolean>;
}

type Database = Pick<ServiceDatabase<CommunicationTables>, "db">;

/** Clocks of processes may differ by so much from the database's order. */
const CLOCK_SKEW_MS = 3600_000;

/** Reads the log. */
export class LogReader {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Events that meet a query, newest first, behind a place. */
  async search(query: SearchQuery, page: SearchPage): Promise<FoundEvent[]> {
    const conditions = [...conditionsOf(query), page.where];
    if (page.after) conditions.push(behind(page.after));
    const where = sql`where ${sql.join(conditions, sql` and `)}`;
    const { rows } = await sql<FoundEvent>`
      select shard, seq, (extract(epoch from recorded_at) * 1000000)::bigint as "recordedAt", event, resource, environment
      from audit_log.audit_event ${where}
      order by recorded_at desc, shard desc, seq desc limit ${page.limit}`.execute(this.#database.db);
    return rows;
  }

  /** The chains as far as they go, the log's own first. */
  async heads(): Promise<ShardHead[]> {
    const { rows } = await sql<CommunicationTables["shard_head"]>`
      select * from shard_head order by shard <> ${LOG_SHARD}, shard`.execute(this.#database.db);
    return rows.map(shardHead);
  }

  /** Up to where the log has a spool; undefined: it has nothing of it. */
  async position(spoolId: string): Promise<SpoolPosition | undefined> {
    const { rows } = await sql<CommunicationTables["spool_position"]>`
      select * from spool_position where spool_id = ${spoolId}`.execute(this.#database.db);
    return rows[0] && spoolPosition(rows[0]);
  }

  /** Every chain that has rows, whatever is said of it elsewhere; the log's own first. */
  async shards(): Promise<string[]> {
    const { rows } = await sql<{ shard: string }>`
      with recursive next as (
        (select shard from audit_log.audit_event order by shard limit 1)
        union all
        select (select e.shard from audit_log.audit_event e where e.shard > next.shard order by e.shard limit 1)
        from next where next.shard is not null)
      select shard from next where shard is not null order by shard <> ${LOG_SHARD}, shard`.execute(this.#database.db);
    return rows.map(({ shard }) => shard);
  }

  /** Rows of a chain behind a place of it, in their order, with all that the database says of them; none: it ends there. */
  async rows(shard: string, after: RowPlace, limit: number): Promise<LogRow[]> {
    // Numbers have no gaps unless somebody made one. A day that PostgreSQL has no statistics of yet would be read to its end
    // for every page if the page had no end of its own.
    const near = await this.#rows(sql`${behindRow(shard, after)} and seq <= ${after.seq + limit}`, limit);
    return near.length > 0 ? near : this.#rows(behindRow(shard, after), limit);
  }

  async #rows(where: RawBuilder<unknown>, limit: number): Promise<LogRow[]> {
    const { rows } = await sql<StoredRow>`
      select shard, seq, epoch, event, mac, outcome, actor, method, resource, environment, request_id, trace_id, facts,
        (extract(epoch from recorded_at) * 1000000)::bigint as recorded_at,
        (extract(epoch from time) * 1000000)::bigint as time
      from audit_log.audit_event where ${where}
      order by audit_event.seq, audit_event.recorded_at limit ${limit}`.execute(this.#database.db);
    return rows.map(logRow);
  }
}

/** A place in a chain, as rows lie. */
export interface RowPlace {
  readonly seq: number;
  /** Microseconds since 1970. */
  readonly recordedAt: number;
}

function behindRow(shard: string, { seq, recordedAt }: RowPlace): RawBuilder<unknown> {
  const at = sql`timestamptz 'epoch' + ${recordedAt}::bigint * interval '1 microsecond'`;
  return sql`shard = ${shard} and (seq, recorded_at) > (${seq}, ${at})`;
}

interface StoredRow {
  shard: string;
  seq: string;
  epoch: number;
  event: Buffer;
  mac: Buffer;
  outcome: number;
  actor: string;
  method: string;
  resource: string;
  environment: string;
  request_id: string;
  trace_id: string;
  facts: string;
  recorded_at: string;
  time: string;
}

function logRow(row: StoredRow): LogRow & { columns: EventColumns } {
  const { shard, epoch, event, mac, outcome, actor, method, resource, environment, facts } = row;
  const seq = Number(row.seq);
  const [recordedAt, time] = [Number(row.recorded_at), Number(row.time)];
  const ids = { requestId: row.request_id, traceId: row.trace_id };
  const columns = { shard, seq, recordedAt, time, outcome, actor, method, resource, environment, facts, ...ids };
  return { shard, seq, epoch, event, mac, columns };
}

function behind({ recordedAt, shard, seq }: PagePlace): RawBuilder<unknown> {
  const at = sql`timestamptz 'epoch' + ${recordedAt}::bigint * interval '1 microsecond'`;
  return sql`(recorded_at, shard, seq) < (${at}, ${shard}, ${seq}::bigint)`;
}

/** A text with * for any part, as LIKE has it. */
function pattern(text: string): string {
  return text.replace(/[\\%_]/g, "\\$&").replaceAll("*", "%");
}

const like = (column: RawBuilder<unknown>, text: string) => sql`${column} like ${pattern(text)}`;

function conditionsOf(query: SearchQuery): RawBuilder<unknown>[] {
  const { actor, method, outcome, resource, environment, requestId, traceId, shard } = query;
  const conditions: RawBuilder<unknown>[] = [];
  // "anna" is anybody of this id; "DeploymentService/Deploy" and "Deploy" leave the front of a method out.
  if (actor !== "") conditions.push(like(sql`actor`, actor.includes(":") ? actor : `*:${actor}`));
  if (method !== "")
    conditions.push(
      sql`(${like(sql`method`, method)} or ${like(sql`method`, `*.${method}`)} or ${like(sql`method`, `*/${method}`)})`,
    );
  if (outcome !== 0) conditions.push(sql`outcome = ${outcome}`);
  if (resource !== "") conditions.push(like(sql`resource`, resource));
  if (environment !== "") conditions.push(sql`environment = ${environment}`);
  if (requestId !== "") conditions.push(sql`request_id = ${requestId}`);
  if (traceId !== "") conditions.push(sql`trace_id = ${traceId}`);
  if (shard !== "") conditions.push(sql`shard = ${shard}`);
  conditions.push(...factConditions(query));
  if (query.startTime) {
    const start = timestampDate(query.startTime);
    // What lies in days before cannot have happened since; days after may tell of earlier.
    conditions.push(sql`time >= ${start}`, sql`recorded_at >= ${new Date(start.getTime() - CLOCK_SKEW_MS)}`);
  }
  if (query.endTime) conditions.push(sql`time < ${timestampDate(query.endTime)}`);
  if (!query.includeHeartbeats) conditions.push(sql`method not like 'hms.communication.v1.Audit%/Heartbeat'`);
  return conditions;
}

/** Conditions on what stands in the column of facts, a line each. */
function factConditions({ code, resourceType, policyId, address, credential }: SearchQuery): RawBuilder<unknown>[] {
  const wanted = { code, type: resourceType, policy: policyId, address, credential };
  return Object.entries(wanted).flatMap(([name, value]) => {
    // A line break would be another fact's.
    const line = `%\n${name}:${pattern(value.replaceAll("\n", " "))}\n%`;
    return value === "" ? [] : [sql`facts like ${line}`];
  });
}
