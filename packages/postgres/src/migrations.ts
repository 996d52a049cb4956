import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { type ErrorCode, HmsError } from "@hms/kernel";
import type { Connection } from "./admin-connection.ts";
import { lockKey } from "./lock-key.ts";
import { translatePgError } from "./pg-error.ts";
import { positionIn, type SqlStatement, splitSqlStatements } from "./sql-statements.ts";

/** Tables that a package brings into the schema of every service that asks for them, with a history of their own. */
export interface SchemaComponent {
  /** Begins the names of its migrations in the service's history; lower-case letters. */
  name: string;
  /** The folder of 0001_name.sql files. */
  migrations: URL;
}

/** One file of a service's migrations folder. */
export interface Migration {
  /** Its file name, 0001_name.sql, in a component behind the component's name and a slash. */
  name: string;
  sql: string;
  sha256: string;
}

interface Applied {
  name: string;
  sha256: string;
}

const NAME = /^\d{4}_[a-z0-9_]+\.sql$/;

const refuse = (message: string, reason: string) => new HmsError("FAILED_PRECONDITION", message, { reason });

/**
 * Reads a folder of migrations in their order. Line endings do not count.
 * @throws HmsError FAILED_PRECONDITION if an .sql file has no number of its own (0001_name.sql).
 */
export function readMigrations(folder: URL): Migration[] {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith(".sql"))
    .sort();
  const numbers = new Set<string>();
  return names.map((name) => {
    if (!NAME.test(name))
      throw refuse(`The migration ${name} must be named like 0001_create_tables.sql.`, "MIGRATION_NAME");
    const number = name.slice(0, 4);
    if (numbers.has(number))
      throw refuse(`Two migrations have the number ${number}. Give ${name} the next free one.`, "MIGRATION_NAME");
    numbers.add(number);
    const sql = readFileSync(new URL(name, folder.href.endsWith("/") ? folder : `${folder.href}/`), "utf8").replaceAll(
      "\r\n",
      "\n",
    );
    return { name, sql, sha256: createHash("sha256").update(sql).digest("hex") };
  });
}

/** Reads the migrations of a component. @throws HmsError FAILED_PRECONDITION like readMigrations. */
export function readComponent({ name, migrations }: SchemaComponent): Migration[] {
  return readMigrations(migrations).map((migration) => ({ ...migration, name: `${name}/${migration.name}` }));
}

const historyOf = ({ name }: Pick<Applied, "name">) => name.slice(0, name.lastIndexOf("/") + 1);

/** What is left to apply; a database ahead of this release is fine, since migrations are readable by the previous one. */
export function pendingMigrations(
  service: string,
  known: readonly Migration[],
  applied: readonly Applied[],
): Migration[] {
  const histories = [...new Set(known.map(historyOf))];
  return histories.flatMap((history) => {
    const ofHistory = <T extends { name: string }>(entries: readonly T[]) =>
      entries.filter((entry) => historyOf(entry) === history);
    return pendingOfHistory(service, ofHistory(known), ofHistory(applied));
  });
}

function pendingOfHistory(service: string, known: readonly Migration[], applied: readonly Applied[]): Migration[] {
  const done = new Map(applied.map((entry) => [entry.name, entry.sha256]));
  const last =
    applied
      .map(({ name }) => name)
      .sort()
      .at(-1) ?? "";
  const newest = known.at(-1)?.name ?? "";
  for (const { name, sha256 } of known) {
    const before = done.get(name);
    if (before !== undefined && before !== sha256) {
      throw refuse(
        `The migration ${name} of ${service} was changed after it had been applied. Restore it, and write the change as a new migration.`,
        "MIGRATION_CHANGED",
      );
    }
    if (before === undefined && name < last) {
      throw refuse(
        `The migration ${name} of ${service} comes before ${last}, which has been applied. Migrations only go forward: give it the next number.`,
        "MIGRATION_ORDER",
      );
    }
  }
  const names = new Set(known.map(({ name }) => name));
  const missing = applied.find(({ name }) => name < newest && !names.has(name));
  if (missing) {
    throw refuse(
      `The migration ${missing.name} of ${service} has been applied, but its file is gone. Restore it.`,
      "MIGRATION_MISSING",
    );
  }
  return known.filter(({ name }) => !done.has(name));
}

async function readApplied(connection: Connection): Promise<Applied[]> {
  const [table] = await connection.query<{ found: boolean }>("SELECT to_regclass('migrations') IS NOT NULL AS found");
  return table?.found ? connection.query<Applied>("SELECT name, sha256 FROM migrations") : [];
}

const TABLE = `CREATE TABLE IF NOT EXISTS migrations (
  name text PRIMARY KEY,
  sha256 text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)`;

const OWN_TRANSACTION =
  /^(?:begin|commit|end|rollback|abort|start\s+transaction|savepoint|release|prepare\s+transaction)\b/i;

/** Where in which file, and why. */
interface Failure {
  offset: number;
  code: ErrorCode;
  why: string;
  cause?: unknown;
}

function failure(migration: Migration, { offset, code, why, cause }: Failure): HmsError {
  const { line, column } = positionIn(migration.sql, offset);
  return new HmsError(
    code,
    `Migration ${migration.name}, line ${line}, column ${column}: ${why} Nothing of this file was applied.`,
    {
      reason: "MIGRATION_FAILED",
      metadata: { file: migration.name, line: String(line), column: String(column) },
      cause,
    },
  );
}

/** What PostgreSQL says of a statement, in terms of the file it stands in. */
function failureOf(error: HmsError, statement: SqlStatement): Failure {
  const { position, message, hint } = error.cause as { position?: string; message: string; hint?: string };
  // PostgreSQL counts characters from 1, JavaScript counts UTF-16 units from 0.
  const inside = position ? [...statement.text].slice(0, Number(position) - 1).join("").length : 0;
  return {
    offset: statement.offset + inside,
    code: error.code === "INTERNAL" ? "FAILED_PRECONDITION" : error.code,
    why: `${message}.${hint ? ` ${hint}` : ""}`,
    cause: error.cause,
  };
}

async function applyStatement(connection: Connection, migration: Migration, statement: SqlStatement): Promise<void> {
  if (OWN_TRANSACTION.test(statement.text)) {
    const why = "a migration runs in one transaction of ours; remove this statement.";
    throw failure(migration, { offset: statement.offset, code: "FAILED_PRECONDITION", why });
  }
  try {
    await connection.query(statement.text);
  } catch (error) {
    const translated = translatePgError(error);
    if (translated.code === "UNAVAILABLE") throw translated;
    throw failure(migration, failureOf(translated, statement));
  }
}

async function apply(connection: Connection, migration: Migration): Promise<void> {
  await connection.query("BEGIN");
  try {
    for (const statement of splitSqlStatements(migration.sql)) await applyStatement(connection, migration, statement);
    await connection.query("INSERT INTO migrations (name, sha256) VALUES ($1, $2)", [migration.name, migration.sha256]);
    await connection.query("COMMIT");
  } catch (error) {
    // The first error is the one to show; a connection that cannot roll back is closed, which does the same.
    await connection.query("ROLLBACK").catch(() => {});
    throw error;
  }
}

/**
 * Brings a service's schema to this release: each file in a transaction, once, however many processes start at once.
 * The connection's search_path begins with the schema. Returns the names applied now.
 * @throws HmsError FAILED_PRECONDITION with file, line and column if one fails or the history does not fit.
 */
export async function migrate(connection: Connection, service: string, known: readonly Migration[]): Promise<string[]> {
  if (pendingMigrations(service, known, await readApplied(connection)).length === 0) return [];
  await connection.query("SET client_min_messages = warning");
  // Another process may be migrating; one that hangs must not make us hang.
  await connection.query("SET lock_timeout = '60s'");
  await connection.query("SELECT pg_advisory_lock($1)", [lockKey(`migrations:${service}`)]);
  try {
    await connection.query(TABLE);
    const pending = pendingMigrations(service, known, await readApplied(connection));
    // A table that stays busy must not make every later query of the running release wait behind us.
    await connection.query("SET lock_timeout = '10s'");
    for (const migration of pending) await apply(connection, migration);
    return pending.map(({ name }) => name);
  } finally {
    // If this fails the connection is gone, and the lock with it.
    await connection.query("SELECT pg_advisory_unlock($1)", [lockKey(`migrations:${service}`)]).catch(() => {});
  }
}
