import { HmsError } from "@hms/kernel/errors";
import { sql } from "kysely";
import { type EventDatabase, rowsOf } from "./event-database.ts";
import type { LogRow } from "./event-row.ts";

/** Which events of a stretch of the log are wanted. */
export interface PageFilter {
  /** null: of all environments. */
  environment: string | null;
  /** Of topicExpression(). */
  topics: string | null;
  /** Only events whose slot falls to one of these shards; undefined: all. */
  shards?: { count: number; wanted: readonly number[] };
}

/** A stretch of the log. */
export interface PageRange {
  after: number;
  until: number;
  limit: number;
}

/** Events found, and the position up to which there are no others. */
export interface Page {
  rows: LogRow[];
  reached: number;
}

/** The columns of an event, with positions as numbers. */
export const EVENT_COLUMNS = sql`e.position::float8 as position, e.logged_at, e.environment, e.topic, e.source, e.event_id,
  e.partition_key, e.slot, e.attributes, e.data`;

/** Reads events of a stretch, oldest first. @throws HmsError OUT_OF_RANGE if its beginning is no longer in the log. */
export async function readPage(database: EventDatabase, range: PageRange, filter: PageFilter): Promise<Page> {
  const { after, until, limit } = range;
  const { environment, topics, shards } = filter;
  const rows = await rowsOf(
    database,
    sql<LogRow & { first: number }>`
      select ${EVENT_COLUMNS}, f.first
      from (select min(first_position)::float8 as first from part) f
      left join page(${after}, ${until}, ${limit}, ${environment}, ${topics}, ${shards?.count ?? null}::int,
        ${shards ? [...shards.wanted] : null}::int[]) e on true`,
  );
  const first = rows[0]?.first ?? 1;
  if (after + 1 < first) {
    throw new HmsError("OUT_OF_RANGE", `The log begins at ${first}; ${after + 1} is no longer in it.`, {
      reason: "BEHIND_RETENTION",
      metadata: { from: String(after + 1), to: String(first - 1) },
    });
  }
  const found = rows[0]?.position === null ? [] : rows;
  return { rows: found, reached: found.length === limit ? (found.at(-1)?.position ?? until) : until };
}
