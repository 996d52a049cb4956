import { HmsError } from "@hms/kernel/errors";
import {
  afterCommit,
  retryWhileUnavailable,
  type SchemaComponent,
  type ServiceDatabase,
  translatePgError,
} from "@hms/postgres";
import { type QueryExecutorProvider, sql } from "kysely";
import { type CloudEvent, invalidEvents } from "./cloud-event.ts";
import type { EventLog } from "./event-log.ts";
import { type OutboxRow, toOutboxRow } from "./event-row.ts";

/** The tables `outbox` and `inbox` for a service's schema: give it to openServiceDatabase() as a component. */
export const outboxTables: SchemaComponent = { name: "events", migrations: new URL("../outbox/", import.meta.url) };

/** How long publish() goes on trying while the database is away. */
const PATIENCE_MS = 10_000;
const MOST_ROWS = 1000;

/** How events are published. */
export interface PublishOptions {
  /** Write them as a part of this transaction: they happen with it or not at all. Default: a transaction of their own. */
  transaction?: QueryExecutorProvider;
}

/** Where a service says what has become true. */
export interface Outbox extends AsyncDisposable {
  /**
   * Writes events; once it resolves (or, with `transaction`, once that is committed) they are on the disk and will reach
   * the log, in this order. The same source and id again, while the first is at most a day old, is the same event.
   * Without a transaction it tries for 10 s while the database is away.
   * @throws HmsError INVALID_ARGUMENT with every problem of every event; UNAVAILABLE if they may or may not be written.
   */
  publish(events: readonly CloudEvent[], options?: PublishOptions): Promise<void>;
}

type OutboxDatabase = Pick<ServiceDatabase<unknown>, "service" | "isolation" | "db">;

/** What an outbox is made of. */
export interface OutboxOptions {
  log: EventLog;
  /** The service's own database, opened with the component `outboxTables`. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever else the service's schema holds is no business of the outbox.
  database: Pick<ServiceDatabase<any>, keyof OutboxDatabase>;
}

/**
 * Opens a service's outbox and lets the relay read it.
 * @throws HmsError FAILED_PRECONDITION if the schema has no outbox.
 */
export async function openOutbox({ log, database }: OutboxOptions): Promise<Outbox> {
  const own = database as OutboxDatabase;
  await retryWhileUnavailable(() => admitRelay(own, log.role), { deadlineMs: PATIENCE_MS });
  log.outboxOpened();
  const queue = new PublishQueue((rows) => insert(own.db, rows));
  return {
    publish: async (events, { transaction } = {}) => {
      const rows = rowsOf(events);
      if (rows.length === 0) return;
      if (!transaction) {
        await queue.write(rows);
        log.outboxWritten();
        return;
      }
      for (let start = 0; start < rows.length; start += MOST_ROWS) {
        await insert(transaction, rows.slice(start, start + MOST_ROWS));
      }
      afterCommit(transaction, () => log.outboxWritten());
    },
    [Symbol.asyncDispose]: () => queue.settled(),
  };
}

function rowsOf(events: readonly CloudEvent[]): OutboxRow[] {
  const read = events.map(toOutboxRow);
  const problems = read.flatMap(({ problems: own }, index) =>
    own.map(({ field, description }) => ({ field: events.length > 1 ? `[${index}].${field}` : field, description })),
  );
  if (problems.length > 0) throw invalidEvents(problems);
  return read.map(({ row }) => row);
}

async function insert(executor: QueryExecutorProvider, rows: readonly OutboxRow[]): Promise<void> {
  const column = <K extends keyof OutboxRow>(name: K) => rows.map((row) => row[name]);
  try {
    await sql`insert into outbox (event_id, source, environment, topic, partition_key, slot, attributes, data)
      select * from unnest(${column("eventId")}::text[], ${column("source")}::text[], ${column("environment")}::text[],
        ${column("topic")}::text[], ${column("partitionKey")}::text[], ${column("slot")}::smallint[],
        ${column("attributes")}::json[], ${column("data")}::bytea[])`.execute(executor);
  } catch (error) {
    throw translatePgError(error);
  }
}

/** The owner of the schema lets the relay in; where all services share a role there is nothing to let in. */
async function admitRelay({ db, service, isolation }: OutboxDatabase, role: string): Promise<void> {
  const { rows } = await sql<{ found: boolean; admitted: boolean }>`
    select c.oid is not null as found, c.oid is not null and has_schema_privilege(${role}, ${service}, 'USAGE')
      and has_table_privilege(${role}, c.oid, 'SELECT') and has_table_privilege(${role}, c.oid, 'DELETE') as admitted
    from (select to_regclass(${`${service}.outbox`})::oid as oid) c`.execute(db);
  const [state] = rows;
  if (!state?.found) {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `The schema ${service} has no outbox. Open its database with components: [outboxTables].`,
      { reason: "NO_OUTBOX" },
    );
  }
  if (state.admitted || isolation.role === role) return;
  await sql`grant usage on schema ${sql.id(service)} to ${sql.id(role)}`.execute(db);
  await sql`grant select, delete on ${sql.table(`${service}.outbox`)} to ${sql.id(role)}`.execute(db);
}

interface Waiting {
  rows: readonly OutboxRow[];
  done: PromiseWithResolvers<void>;
}

/** Writes what many callers publish at once in one transaction, in the order in which they asked. */
class PublishQueue {
  readonly #insert: (rows: readonly OutboxRow[]) => Promise<void>;
  #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;

  constructor(insertRows: (rows: readonly OutboxRow[]) => Promise<void>) {
    this.#insert = insertRows;
  }

  write(rows: readonly OutboxRow[]): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ rows, done });
    this.#running ??= this.#run();
    return done.promise;
  }

  /** Resolves once nobody waits any more. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // Who publishes in the same turn of the event loop goes along.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#writeTogether(this.#take());
    this.#running = undefined;
  }

  #take(): Waiting[] {
    let rows = 0;
    let count = 0;
    for (const entry of this.#waiting) {
      rows += entry.rows.length;
      if (count > 0 && rows > MOST_ROWS) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #writeTogether(entries: readonly Waiting[]): Promise<void> {
    const rows = entries.flatMap((entry) => entry.rows);
    try {
      // May write twice if an answer is lost; the relay knows events by their ids.
      await retryWhileUnavailable(() => this.#insert(rows), { deadlineMs: PATIENCE_MS });
      for (const { done } of entries) done.resolve();
    } catch (error) {
      for (const { done } of entries) done.reject(error);
    }
  }
}
