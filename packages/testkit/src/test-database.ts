import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import {
  type Connection,
  type ConnectionSource,
  connectionSource,
  openAdmin,
  openServiceDatabase,
  type ServiceDatabase,
} from "@hms/postgres";
import type { BrokerAnswer } from "./global-setup.ts";
import { waitFor } from "./wait-for.ts";

/** Which service's schema the database has. */
export interface TestDatabaseOptions {
  service: string;
  /** The service's migrations folder. */
  migrations: URL;
  /** Most connections at once; default 5. */
  poolSize?: number;
}

/** A database of a test file's own. Disposing closes and drops it, and fails if a connection was left open. */
export interface TestDatabase<Schema> extends AsyncDisposable {
  /** The service's part of it, opened as production code would. */
  database: ServiceDatabase<Schema>;
  /** To open it again, as another process of the service would. */
  source: ConnectionSource;
}

let known: Promise<ConnectionSource> | undefined;

/** The PostgreSQL of this test run, started when the first test asks. Its own database is for administration only. */
export function testPostgres(): Promise<ConnectionSource> {
  known ??= askBroker();
  return known;
}

async function askBroker(): Promise<ConnectionSource> {
  // Not at the top: vitest refuses to be imported outside of a test run, where the rest of this package is of use too.
  const { inject } = await import("vitest");
  const path = inject("hmsTestPostgresSocket");
  if (!path) throw new Error('Add globalSetup: ["packages/testkit/src/global-setup.ts"] to this vitest project.');
  const socket = connect(path);
  await once(socket, "connect");
  const { paths, failure } = JSON.parse(await text(socket)) as BrokerAnswer;
  if (!paths) throw new Error(`The test run's PostgreSQL did not start: ${failure}`);
  return connectionSource(paths);
}

function fingerprint(folder: URL): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(folder).sort()) {
    hash.update(`${name}\0`).update(readFileSync(new URL(name, `${folder.href.replace(/\/$/, "")}/`)));
  }
  return hash.digest("hex").slice(0, 12);
}

/** Makes the migrated database that others are copied from, once per run and state of the migrations. */
async function ensureTemplate(
  admin: Connection,
  source: ConnectionSource,
  options: TestDatabaseOptions,
): Promise<string> {
  const name = `template_${options.service}_${fingerprint(options.migrations)}`;
  const lock = createHash("sha256").update(name).digest().readInt32BE(0);
  await admin.query("SELECT pg_advisory_lock(7, $1)", [lock]);
  try {
    const [found] = await admin.query("SELECT FROM pg_database WHERE datname = $1", [name]);
    if (found) return name;
    const draft = `${name}_draft`;
    await admin.query(`DROP DATABASE IF EXISTS ${draft} WITH (FORCE)`);
    await admin.query(`CREATE DATABASE ${draft}`);
    const opened = await openServiceDatabase({ ...options, source: source.withDatabase(draft) });
    await opened[Symbol.asyncDispose]();
    await waitFor(async () => (await connectionsTo(admin, draft)).length === 0, {
      describe: "the template to be left alone",
    });
    await admin.query(`ALTER DATABASE ${draft} RENAME TO ${name}`);
    return name;
  } finally {
    await admin.query("SELECT pg_advisory_unlock(7, $1)", [lock]);
  }
}

interface OpenConnection {
  application_name: string;
  state: string;
  query: string;
}

function connectionsTo(admin: Connection, database: string): Promise<OpenConnection[]> {
  return admin.query<OpenConnection>(
    "SELECT application_name, state, query FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'",
    [database],
  );
}

/** Opens a fresh, migrated database for one test file: a copy of a template, made in some 50 ms. */
export async function openTestDatabase<Schema>(options: TestDatabaseOptions): Promise<TestDatabase<Schema>> {
  const server = await testPostgres();
  const name = `test_${options.service}_${randomBytes(6).toString("hex")}`;
  {
    await using admin = await openAdmin(server);
    const template = await ensureTemplate(admin, server, options);
    await admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  }
  const source = server.withDatabase(name);
  const database = await openServiceDatabase<Schema>({ ...options, source });
  return { database, source, [Symbol.asyncDispose]: () => drop({ server, name, database }) };
}

interface Opened {
  server: ConnectionSource;
  name: string;
  database: AsyncDisposable;
}

async function drop({ server, name, database }: Opened): Promise<void> {
  await using admin = await openAdmin(server);
  try {
    await database[Symbol.asyncDispose]();
    let left: OpenConnection[] = [];
    const look = async () => {
      left = await connectionsTo(admin, name);
      return left.length === 0;
    };
    const describe = () =>
      `all connections of this test to be closed; open are: ${left.map((entry) => `${entry.application_name} (${entry.state}): ${entry.query}`).join(" · ")}`;
    await waitFor(look, { deadlineMs: 2000, describe });
  } finally {
    await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
  }
}
