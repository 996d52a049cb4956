import type { ServiceDatabase } from "@hms/postgres";
import { type QueryExecutorProvider, sql, type Transaction } from "kysely";
import type { CloudEvent } from "./cloud-event.ts";
import type { EventHandler } from "./delivery.ts";

/** How long an inbox remembers: longer than a log keeps its events. */
const DEFAULT_KEEP_DAYS = 30;
const PRUNE_EVERY_MS = 3_600_000;

/** What a handler with an inbox is made of. */
export interface InboxOptions<Schema> {
  /** The service's database, opened with the component `outboxTables`. */
  database: Pick<ServiceDatabase<Schema>, "db" | "transaction">;
  /** The consumer group. */
  group: string;
  /** For how many days handled events are remembered; default 30. */
  keepDays?: number;
}

/** Does in the transaction what an event calls for. */
export type InboxHandler<Schema> = (event: CloudEvent, transaction: Transaction<Schema>) => Promise<void>;

/**
 * Makes a handler whose work happens once for each event, however often it is delivered: the inbox notes the event in
 * the transaction that does the work. Effects outside of the transaction may happen again.
 */
export function inboxHandler<Schema>(options: InboxOptions<Schema>, handle: InboxHandler<Schema>): EventHandler {
  const { database, group, keepDays = DEFAULT_KEEP_DAYS } = options;
  let nextPruneAt = performance.now();
  return async (event) => {
    await database.transaction(async (transaction) => {
      if (await isFirst(transaction, group, event)) await handle(event, transaction);
    });
    if (performance.now() < nextPruneAt) return;
    nextPruneAt = performance.now() + PRUNE_EVERY_MS;
    // What is left over is removed an hour later.
    await prune(database.db, keepDays).catch(() => {});
  };
}

async function isFirst(executor: QueryExecutorProvider, group: string, { source, id }: CloudEvent): Promise<boolean> {
  const { rows } = await sql`
    insert into inbox (consumer_group, source, event_id) values (${group}, ${source}, ${id})
    on conflict do nothing returning 1`.execute(executor);
  return rows.length === 1;
}

async function prune(executor: QueryExecutorProvider, keepDays: number): Promise<void> {
  await sql`delete from inbox where handled_at < now() - make_interval(days => ${keepDays})`.execute(executor);
}
