import type { ServiceDatabase } from "@hms/postgres";
import { type RawBuilder, sql } from "kysely";

/** The schema `durable`; its tables are read by SQL only. */
// biome-ignore lint/complexity/noBannedTypes: no table of it is queried by the builder.
export type RunDatabase = ServiceDatabase<{}>;

/** The rows of a query outside of a transaction. */
export async function rowsOf<T>(database: Pick<RunDatabase, "db">, query: RawBuilder<T>): Promise<T[]> {
  return (await query.execute(database.db)).rows;
}

/** A value as a jsonb parameter. */
export const asJsonb = (value: unknown) => sql`${JSON.stringify(value)}::jsonb`;
