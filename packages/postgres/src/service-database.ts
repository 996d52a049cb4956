import { HmsError } from "@hms/kernel";
import { type IsolationLevel, Kysely, PostgresDialect, type Transaction } from "kysely";
import type { ClientConfig } from "pg";
import { openConnection } from "./admin-connection.ts";
import { type LockedWork, type LockOptions, underAdvisoryLock } from "./advisory-lock.ts";
import { runCommitHooks, watchCommit } from "./after-commit.ts";
import { type ChannelHandler, ChannelListener } from "./channel-listener.ts";
import type { ConnectionSource } from "./connection-source.ts";
import { type GuardedPool, type NamedStatement, openGuardedPool } from "./guarded-pool.ts";
import { migrate, readComponent, readMigrations, type SchemaComponent } from "./migrations.ts";
import { translatePgError } from "./pg-error.ts";
import { retryWhileUnavailable } from "./retry-while-unavailable.ts";
import { ensureServiceRole, type Isolation } from "./service-role.ts";

/** How to open a service's part of the database. */
export interface ServiceDatabaseOptions {
  source: ConnectionSource;
  /** Names the schema and, as hms_<service>, the role. */
  service: string;
  /** The folder of 0001_name.sql files. */
  migrations: URL;
  /** Tables of other packages that this schema shall have as well; applied after the service's own. */
  components?: readonly SchemaComponent[];
  /** Most connections at once; default 5. */
  poolSize?: number;
  /** What the server shows for our connections; default "hms-<service>". */
  applicationName?: string;
  /** How long to wait for a database that is starting; default 10 000. */
  deadlineMs?: number;
  /** No single statement may take longer; default 30 000. One that says nothing at all is given up after 10 s. */
  statementTimeoutMs?: number;
}

/** A service's own part of the database. Disposing it closes every connection. */
export interface ServiceDatabase<Schema> extends AsyncDisposable {
  readonly service: string;
  readonly isolation: Isolation;
  /** The names of the migrations this process applied when opening. */
  readonly applied: readonly string[];
  /** Queries outside of a transaction; table names need no schema. bigint columns arrive as text. */
  readonly db: Kysely<Schema>;
  /**
   * The rows of a statement outside of a transaction that each connection parses and plans once: half a millisecond less for
   * what is asked all the time. The same name always has the same text; types as with `db`.
   */
  prepared<Row>(statement: NamedStatement, parameters: readonly unknown[]): Promise<Row[]>;
  /** Runs `work` in one transaction and commits it. @throws HmsError ABORTED on a conflict (safe to repeat). */
  transaction<T>(work: (transaction: Transaction<Schema>) => Promise<T>, isolation?: IsolationLevel): Promise<T>;
  /** Runs `work` while no other process of this service runs under the same name. */
  withAdvisoryLock<T>(name: string, work: LockedWork<T>, options?: LockOptions): Promise<T>;
  /** Hints from notify(), across reconnections; the channel is this service's own. */
  listen(channel: string, handler: ChannelHandler): Promise<AsyncDisposable>;
  /** Sends a hint to all listeners, outside of any transaction; at most 7999 bytes. */
  notify(channel: string, payload?: string): Promise<void>;
  /** Resolves once the database answers. @throws HmsError UNAVAILABLE after `deadlineMs`. */
  waitUntilUp(deadlineMs: number): Promise<void>;
  /** Connections of the pool: how many exist, how many are in use. */
  readonly connections: { total: number; inUse: number };
}

/**
 * Opens a service's part of the database: makes its role and schema, applies its migrations (once, whoever comes first),
 * and connects as the service's own role.
 * @throws HmsError FAILED_PRECONDITION if a migration fails or the server is too old, UNAVAILABLE after the deadline.
 */
export async function openServiceDatabase<Schema>(options: ServiceDatabaseOptions): Promise<ServiceDatabase<Schema>> {
  const { source, service, deadlineMs = 10_000 } = options;
  const known = [...readMigrations(options.migrations), ...(options.components ?? []).flatMap(readComponent)];
  const prepare = async () => {
    const { isolation, settings, opened } = await openAsService(options);
    await using connection = opened;
    return { isolation, settings, applied: await migrate(connection, service, known) };
  };
  const { isolation, settings, applied } = await retryWhileUnavailable(prepare, { deadlineMs });
  const pool = openGuardedPool(
    {
      ...settings,
      password: settings.readPassword,
      max: options.poolSize ?? 5,
      idleTimeoutMillis: 10_000,
      connectionTimeoutMillis: 5000,
      statement_timeout: options.statementTimeoutMs ?? 30_000,
      idle_in_transaction_session_timeout: 60_000,
    },
    async () => {
      await ensureServiceRole(source, service);
    },
  );
  return assemble<Schema>({ service, isolation, applied }, pool, settings);
}

/** Once more where the password was replaced just after it had been looked at. */
const TRIES = 3;

async function openAsService(options: ServiceDatabaseOptions) {
  for (let left = TRIES - 1; ; left -= 1) {
    const isolation = await ensureServiceRole(options.source, options.service);
    const settings = await roleSettings(options, isolation);
    try {
      const opened = await openConnection({ ...settings, password: await settings.readPassword() });
      return { isolation, settings, opened };
    } catch (error) {
      if (left === 0 || HmsError.from(error).code !== "UNAUTHENTICATED") throw error;
    }
  }
}

interface RoleSettings extends ClientConfig {
  readPassword: () => Promise<string>;
}

async function roleSettings(options: ServiceDatabaseOptions, isolation: Isolation): Promise<RoleSettings> {
  const { source, service } = options;
  const application_name = options.applicationName ?? `hms-${service}`;
  if (isolation.kind === "own-role") {
    const readPassword = async () => source.passwordOf(isolation.role);
    return { ...source.as(isolation.role), application_name, readPassword };
  }
  // A shared role has no search_path of its own.
  const { password: _, ...admin } = await source.admin();
  const readPassword = async () => ((await source.admin()).password as string | undefined) ?? "";
  return {
    ...admin,
    application_name,
    options: `${admin.options ?? ""} -c search_path=${service}`.trim(),
    readPassword,
  };
}

type Facts = Pick<ServiceDatabase<unknown>, "service" | "isolation" | "applied">;

function assemble<Schema>(facts: Facts, pool: GuardedPool, settings: RoleSettings): ServiceDatabase<Schema> {
  const { service } = facts;
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  const single = { ...settings, password: settings.readPassword, keepAlive: true };
  const listener = new ChannelListener(() => single);
  const query = async (sql: string, parameters: readonly unknown[]) => {
    const client = await pool.connect();
    try {
      await client.query(sql, parameters);
    } finally {
      client.release();
    }
  };
  return {
    ...facts,
    db,
    prepared: (statement, parameters) => pool.prepared(statement, parameters),
    transaction: (work, isolation) => inTransaction(db, work, isolation),
    withAdvisoryLock: (name, work, options) => underAdvisoryLock(single, `${service}:${name}`, { ...options, work }),
    listen: (channel, handler) => listener.listen(`${service}.${channel}`, handler),
    notify: (channel, payload = "") => query("SELECT pg_notify($1, $2)", [`${service}.${channel}`, payload]),
    waitUntilUp: (deadlineMs) => retryWhileUnavailable(() => query("SELECT 1", []), { deadlineMs }),
    get connections() {
      return pool.size;
    },
    [Symbol.asyncDispose]: async () => {
      await listener[Symbol.asyncDispose]();
      await close(pool, service);
    },
  };
}

async function inTransaction<Schema, T>(
  db: Kysely<Schema>,
  work: (transaction: Transaction<Schema>) => Promise<T>,
  isolation?: IsolationLevel,
): Promise<T> {
  const builder = db.transaction();
  let begun: Transaction<Schema> | undefined;
  try {
    const result = await (isolation ? builder.setIsolationLevel(isolation) : builder).execute((transaction) => {
      begun = watchCommit(transaction);
      return work(transaction);
    });
    if (begun) runCommitHooks(begun);
    return result;
  } catch (error) {
    const failure = isDriverError(error) ? translatePgError(error) : error;
    if (begun && mayHaveCommitted(failure)) runCommitHooks(begun);
    throw failure;
  }
}

const mayHaveCommitted = (error: unknown) =>
  error instanceof HmsError && error.details.reason === "COMMIT_OUTCOME_UNKNOWN";

/** Errors that the work itself threw pass unchanged; Kysely's own become ours. */
const isDriverError = (error: unknown) => error instanceof Error && error.name === "AbortedTransactionError";

const CLOSE_DEADLINE_MS = 5000;

async function close(pool: GuardedPool, service: string): Promise<void> {
  const timer = Promise.withResolvers<"late">();
  const alarm = setTimeout(() => timer.resolve("late"), CLOSE_DEADLINE_MS);
  const outcome = await Promise.race([pool.end(), timer.promise]);
  clearTimeout(alarm);
  if (outcome !== "late") return;
  throw new HmsError(
    "INTERNAL",
    `${pool.size.inUse} database connections of ${service} are still in use ${CLOSE_DEADLINE_MS} ms after it was closed: a transaction or query never ended.`,
    { reason: "CONNECTIONS_LEAKED" },
  );
}
