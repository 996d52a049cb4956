import { sql } from "kysely";
import { type EventDatabase, rowsOf } from "./event-database.ts";

/**
 * The schemas whose outboxes the relay may empty: an owner registers his by granting the relay's role SELECT and DELETE.
 * Only plain tables of the shape that `outboxTables` makes count: reading one runs no code of its owner.
 */
export async function discoverOutboxes(database: EventDatabase): Promise<string[]> {
  const rows = await rowsOf(
    database,
    sql<{ schema: string }>`
      select n.nspname as schema
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relname = 'outbox' and c.relkind = 'r' and obj_description(c.oid, 'pg_class') = 'hms.events.outbox.1'
        and not c.relhastriggers and not c.relhasrules and not c.relrowsecurity
        and has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT') and has_table_privilege(c.oid, 'DELETE')
        and (
          select string_agg(a.attname || ':' || format_type(a.atttypid, null), ' ' order by a.attnum) from pg_attribute a
          where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        ) = 'seq:bigint event_id:text source:text environment:text topic:text partition_key:text slot:smallint attributes:json data:bytea created_at:timestamp with time zone'
      order by 1`,
  );
  return rows.map(({ schema }) => schema);
}
