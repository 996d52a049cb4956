import { sql, type Transaction } from "kysely";
import { type EventDatabase, rowsOf } from "./event-database.ts";

/** The table of a day's partition. */
export const partTable = (day: string) => `log_${day.replaceAll("-", "")}`;

/** The day of a moment in UTC, YYYY-MM-DD. */
export const dayOf = (time: Date) => time.toISOString().slice(0, 10);

/** The days of all partitions, newest first. */
async function partDays(database: EventDatabase): Promise<string[]> {
  const rows = await rowsOf(database, sql<{ day: string }>`select day::text as day from part order by day desc`);
  return rows.map(({ day }) => day);
}

/** Begins a new partition if the newest is of an earlier day; the days of all partitions, newest first. */
export async function ensurePart(database: EventDatabase, today: string): Promise<string[]> {
  const days = await partDays(database);
  if ((days[0] ?? "") >= today) return days;
  await database.transaction(async (transaction) => {
    // Changes the row, not only locks it: a relay that does not know of the new day yet shall fail.
    await sql`update head set position = position`.execute(transaction);
    await createPart(transaction, today);
  });
  return await partDays(database);
}

// biome-ignore lint/complexity/noBannedTypes: see EventDatabase.
async function createPart(transaction: Transaction<{}>, day: string): Promise<void> {
  const { rows } = await sql`
    insert into part (day, first_position) select ${day}::date, h.position + 1 from head h
    where not exists (select from part p where p.day >= ${day}::date) returning 1`.execute(transaction);
  if (rows.length === 0) return;
  const table = sql.id(partTable(day));
  await sql`create table ${table} (like log including defaults, primary key (position), unique (event_id, source))`.execute(
    transaction,
  );
  await sql`alter table log attach partition ${table} for values in (${sql.lit(day)})`.execute(transaction);
}

/**
 * Drops the partitions of days before `firstDay`, never the newest. What groups still hold of them one by one becomes
 * dead letters. Returns the days dropped.
 */
export async function dropParts(database: EventDatabase, firstDay: string): Promise<string[]> {
  const [, ...older] = await partDays(database);
  const dropped = older.filter((day) => day < firstDay).reverse();
  for (const day of dropped) await database.transaction((transaction) => dropPart(transaction, day));
  return dropped;
}

// biome-ignore lint/complexity/noBannedTypes: see EventDatabase.
async function dropPart(transaction: Transaction<{}>, day: string): Promise<void> {
  // Whoever reads the whole log must not be made to wait behind us, if we have to wait for somebody else.
  await sql`select set_config('lock_timeout', '2s', true)`.execute(transaction);
  await rescueLeases(transaction, partTable(day));
  await sql`delete from part where day = ${day}::date`.execute(transaction);
  await sql`drop table ${sql.id(partTable(day))}`.execute(transaction);
}

// biome-ignore lint/complexity/noBannedTypes: see EventDatabase.
async function rescueLeases(transaction: Transaction<{}>, table: string): Promise<void> {
  await sql`
    with ended as (
      delete from lease l using ${sql.id(table)} e
      where l.position = e.position
        and not exists (select from dead_letter d where d.group_id = l.group_id and d.position = l.position)
      returning l.group_id, l.attempts, e.*
    )
    insert into dead_letter
      (group_id, position, attempts, error, logged_at, environment, topic, source, event_id, partition_key, attributes, data)
    select group_id, position, attempts, 'Not handled before the log let go of its day.', logged_at, environment, topic, source,
      event_id, partition_key, attributes, data
    from ended`.execute(transaction);
}

/** A group that has not handled everything before the log let go of it. */
export interface GroupBehind {
  environment: string;
  name: string;
  /** Positions from here on are lost to it… */
  from: number;
  /** …up to here. */
  to: number;
}

/** The groups whose next event is no longer in the log. */
export function groupsBehind(database: EventDatabase): Promise<GroupBehind[]> {
  return rowsOf(
    database,
    sql<GroupBehind>`
      select g.environment, g.name, min(s.cursor)::float8 + 1 as from, first.position::float8 - 1 as to
      from consumer_group g join shard s on s.group_id = g.id,
        (select min(first_position) as position from part) first
      group by g.id, first.position having min(s.cursor) + 1 < first.position order by 1, 2`,
  );
}

/** The position after which come the events written at `time` or later. */
export async function positionBefore(database: EventDatabase, time: Date): Promise<number> {
  // Times never run backwards along the log: its parts, and positions within one, can be bisected.
  const [range] = await rowsOf(
    database,
    sql<{ first: number; last: number }>`
      select coalesce(min(first_position), h.position + 1)::float8 as first, h.position::float8 as last
      from head h left join part on true group by h.position`,
  );
  let { first, last } = range ?? { first: 1, last: 0 };
  while (first <= last) {
    const middle = Math.floor((first + last) / 2);
    const [row] = await rowsOf(
      database,
      sql<{ later: boolean }>`
        select p.logged_at >= ${time} as later
        from page(${middle - 1}, ${middle}, 1, null, null, null, null) p`,
    );
    if (row?.later) last = middle - 1;
    else first = middle + 1;
  }
  return last;
}
