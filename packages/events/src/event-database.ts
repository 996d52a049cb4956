import type { ServiceDatabase } from "@hms/postgres";
import { type RawBuilder, sql } from "kysely";

/** The schema `events`; its tables are read by SQL only. */
// biome-ignore lint/complexity/noBannedTypes: no table of it is queried by the builder.
export type EventDatabase = ServiceDatabase<{}>;

/** The rows of a query outside of a transaction. */
export async function rowsOf<T>(database: Pick<EventDatabase, "db">, query: RawBuilder<T>): Promise<T[]> {
  return (await query.execute(database.db)).rows;
}

/** Milliseconds as an interval. */
export const milliseconds = (value: number) => sql`make_interval(secs => ${value}::float8 / 1000)`;
