import { type RawBuilder, sql } from "kysely";

/** Which outboxes are emptied into which partition. */
export interface RelayRoute {
  /** Schemas, in a fixed order. */
  outboxes: readonly string[];
  /** The day of the newest partition, YYYY-MM-DD. */
  day: string;
  /** The newest partition, and the one before it if there is one: what they hold is not written again. */
  recent: readonly [string, ...string[]];
  /** Most events moved at once. */
  limit: number;
}

/** What one batch did. */
export interface RelayBatch {
  /** Rows taken from the outboxes. */
  taken: number;
  /** The last position now; null if nothing was written. */
  position: number | null;
  /** The day of the newest partition as the database sees it. */
  day: string;
}

const outboxOf = (schema: string) => sql.id(schema, "outbox");

const candidatesOf = ({ outboxes, limit }: RelayRoute) =>
  sql.join(
    outboxes.map(
      (schema, box) =>
        sql`(select ${sql.lit(box)} as box, o.* from ${outboxOf(schema)} o order by seq limit ${sql.lit(limit)})`,
    ),
    sql` union all `,
  );

/** The transaction's snapshot holds still, so these are exactly the rows that were chosen. */
const deletions = ({ outboxes }: RelayRoute) =>
  sql.join(
    outboxes.map(
      (schema, box) => sql`${sql.id(`gone_${box}`)} as (
        delete from ${outboxOf(schema)} where seq <= (select max(c.seq) from chosen c where c.box = ${sql.lit(box)}))`,
    ),
    sql`, `,
  );

// A scalar subquery, which PostgreSQL always answers by the index, however little it knows of the table's size.
const isNew = ({ recent }: RelayRoute) =>
  sql.join(
    recent.map(
      (table) =>
        sql`(select true from ${sql.id(table)} l where l.event_id = c.event_id and l.source = c.source) is null`,
    ),
    sql` and `,
  );

/**
 * One statement that moves the next events from all outboxes to the log. It must run in a REPEATABLE READ transaction:
 * then all outboxes are seen at one moment, and a second relay at the same time fails on the row `head`.
 * The order: of one outbox that of `seq`; between outboxes that of the time of writing, so that what was caused by a
 * committed event comes after it.
 */
export function relayStatement(route: RelayRoute): RawBuilder<RelayBatch> {
  return sql<RelayBatch>`
    with newest as materialized (select max(day)::text as day from part),
    candidates as (${candidatesOf(route)}),
    turns as (select c.*, max(c.created_at) over (partition by c.box order by c.seq) as turn from candidates c),
    chosen as materialized (
      select t.* from turns t where (select day from newest) = ${sql.lit(route.day)}
      order by t.turn, t.box, t.seq limit ${sql.lit(route.limit)}
    ),
    ${deletions(route)},
    fresh as (
      select c.*, row_number() over (partition by c.event_id, c.source order by c.turn, c.box, c.seq) as copy
      from chosen c where ${isNew(route)}
    ),
    numbered as materialized (
      select f.*, h.position + row_number() over (order by f.turn, f.box, f.seq) as position,
        greatest(now(), h.logged_at) as logged_at
      from fresh f, head h where f.copy = 1
    ),
    written as (
      insert into ${sql.id(route.recent[0])}
        (day, position, logged_at, environment, topic, source, event_id, partition_key, slot, attributes, data)
      select ${sql.lit(route.day)}::date, n.position, n.logged_at, n.environment, n.topic, n.source, n.event_id,
        n.partition_key, n.slot, n.attributes, n.data
      from numbered n order by n.position
    ),
    moved as (
      update head set position = position + (select count(*) from numbered), logged_at = greatest(now(), logged_at)
      where exists (select from numbered) returning position
    )
    select (select count(*) from chosen)::int as taken, (select m.position from moved m)::float8 as position,
      (select day from newest) as day`;
}

/** True if any of these outboxes holds a row. */
export function anyOutboxFilled(outboxes: readonly string[]): RawBuilder<{ filled: boolean }> {
  const each = outboxes.map((schema) => sql`exists (select from ${outboxOf(schema)})`);
  return sql<{ filled: boolean }>`select ${each.length > 0 ? sql.join(each, sql` or `) : sql`false`} as filled`;
}
