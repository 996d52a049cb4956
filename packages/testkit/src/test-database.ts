import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import type { InstancePaths } from "@hms/config";
import {
  type Connection,
  type ConnectionSource,
  connectionSource,
  openAdmin,
  openServiceDatabase,
  type SchemaComponent,
  type ServiceDatabase,
} from "@hms/postgres";
import type { BrokerAnswer } from "./global-setup.ts";
import { waitFor } from "./wait-for.ts";

/** Which service's schema the database has. */
export interface TestDatabaseOptions {
  service: string;
  /** The service's migrations folder. */
  migrations: URL;
  /** Tables of other packages in the same schema. */
  components?: readonly SchemaComponent[];
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

/** The PostgreSQL of this test run. */
export interface SharedPostgres {
  /** Its own database is for administration only. */
  source: ConnectionSource;
  /** The installation it belongs to, for programs that find it by themselves. */
  paths: InstancePaths;
  /** The administrator's URL if the tests run on another server than the embedded one. */
  databaseUrl: string | undefined;
}

let known: Promise<SharedPostgres> | undefined;

/** The PostgreSQL of this test run, started when the first test asks. */
export function sharedPostgres(): Promise<SharedPostgres> {
  known ??= askBroker();
  return known;
}

async function askBroker(): Promise<SharedPostgres> {
  // Not at the top: vitest refuses to be imported outside of a test run, where the rest of this package is of use too.
  const { inject } = await import("vitest");
  const path = inject("hmsTestPostgresSocket");
  if (!path) throw new Error('Add globalSetup: ["packages/testkit/src/global-setup.ts"] to this vitest project.');
  const socket = connect(path);
  await once(socket, "connect");
  const { paths, databaseUrl, failure } = JSON.parse(await text(socket)) as BrokerAnswer;
  if (!paths) throw new Error(`The test run's PostgreSQL did not start: ${failure}`);
  return { paths, databaseUrl, source: connectionSource(paths, databaseUrl) };
}

function fingerprint({ migrations, components = [] }: TestDatabaseOptions): string {
  const hash = createHash("sha256");
  for (const folder of [migrations, ...components.map((component) => component.migrations)]) {
    for (const name of readdirSync(folder).sort()) {
      hash.update(`${name}\0`).update(readFileSync(new URL(name, `${folder.href.replace(/\/$/, "")}/`)));
    }
  }
  return hash.digest("hex").slice(0, 12);
}

/** Makes the migrated database that others are copied from, once per run and state of the migrations. */
async function ensureTemplate(server: ConnectionSource, options: TestDatabaseOptions): Promise<string> {
  await using admin = await openAdmin(server);
  const name = `template_${options.service}_${fingerprint(options)}`;
  await admin.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", [name]);
  const [found] = await admin.query("SELECT FROM pg_database WHERE datname = $1", [name]);
  if (found) return name;
  const draft = `${name}_draft`;
  await admin.query(`DROP DATABASE IF EXISTS ${draft} WITH (FORCE)`);
  await admin.query(`CREATE DATABASE ${draft}`);
  const opened = await openServiceDatabase({ ...options, source: server.withDatabase(draft) });
  await opened[Symbol.asyncDispose]();
  const isAlone = async () => (await connectionsTo(admin, draft)).length === 0;
  await waitFor(isAlone, { describe: "the template to be left alone" });
  await admin.query(`ALTER DATABASE ${draft} RENAME TO ${name}`);
  return name;
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

/** A database without anything of ours in it; disposing drops it, and fails if a connection was left open. */
export interface EmptyDatabase extends AsyncDisposable {
  name: string;
  source: ConnectionSource;
}

/** Makes an empty database on the run's server, or a copy of `template`. */
export async function openEmptyDatabase(template = "template1"): Promise<EmptyDatabase> {
  const { source } = await sharedPostgres();
  const name = `test_${randomBytes(6).toString("hex")}`;
  await using admin = await openAdmin(source);
  await admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
  return { name, source: source.withDatabase(name), [Symbol.asyncDispose]: () => drop(source, name) };
}

/** Opens a fresh, migrated database for one test file: a copy of a template, made in some 50 ms. */
export async function openTestDatabase<Schema>(options: TestDatabaseOptions): Promise<TestDatabase<Schema>> {
  const { source: server } = await sharedPostgres();
  const place = await openEmptyDatabase(await ensureTemplate(server, options));
  const database = await openServiceDatabase<Schema>({ ...options, source: place.source });
  const dispose = async () => {
    await using _place = place;
    await database[Symbol.asyncDispose]();
  };
  return { database, source: place.source, [Symbol.asyncDispose]: dispose };
}

async function drop(server: ConnectionSource, name: string): Promise<void> {
  await using admin = await openAdmin(server);
  try {
    let left: OpenConnection[] = [];
    const look = async () => {
      left = await connectionsTo(admin, name);
      return left.length === 0;
    };
    const list = () => left.map((entry) => `${entry.application_name} (${entry.state}): ${entry.query}`).join(" · ");
    const describe = () => `all database connections of this test to be closed; open are: ${list()}`;
    await waitFor(look, { deadlineMs: 2000, describe });
  } finally {
    await admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
  }
}
