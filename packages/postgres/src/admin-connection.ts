import { HmsError } from "@hms/kernel";
import { Client, type ClientConfig, type QueryResultRow } from "pg";
import type { ConnectionSource } from "./connection-source.ts";
import { translatePgError } from "./pg-error.ts";

/** The oldest PostgreSQL the platform works with. */
const OLDEST_VERSION_NUMBER = 150_000;

/** One connection; errors are HmsErrors. */
export interface Connection extends AsyncDisposable {
  query<Row extends QueryResultRow>(sql: string, parameters?: readonly unknown[]): Promise<Row[]>;
  /** Aborted when the connection breaks: whatever it held on the server is gone. */
  readonly lost: AbortSignal;
  /** The driver's own client, for notifications. */
  readonly client: Client;
}

/** Opens one connection (5 s to connect). @throws HmsError UNAVAILABLE, UNAUTHENTICATED, NOT_FOUND, … */
export async function openConnection(config: ClientConfig): Promise<Connection> {
  const client = new Client({ connectionTimeoutMillis: 5000, keepAlive: true, ...config });
  const lost = new AbortController();
  // Without a listener the loss of a connection would end the process.
  client.on("error", (error) => lost.abort(translatePgError(error)));
  client.on("end", () => lost.abort(new HmsError("UNAVAILABLE", "The database connection is closed.")));
  try {
    await client.connect();
  } catch (error) {
    await client.end().catch(() => {});
    throw translatePgError(error);
  }
  return {
    client,
    lost: lost.signal,
    query: async <Row extends QueryResultRow>(sql: string, parameters?: readonly unknown[]) => {
      try {
        return (await client.query<Row>(sql, parameters ? [...parameters] : undefined)).rows;
      } catch (error) {
        throw translatePgError(error);
      }
    },
    [Symbol.asyncDispose]: () => client.end().catch(() => {}),
  };
}

/**
 * Opens a connection as the administrator; for set-up, doctor and tests, never for services.
 * @throws HmsError FAILED_PRECONDITION if the server is older than PostgreSQL 15.
 */
export async function openAdmin(source: ConnectionSource): Promise<Connection> {
  const connection = await openConnection({ ...(await source.admin()), application_name: "hms-admin" });
  const [found] = await connection.query<{ number: number; version: string }>(
    "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version",
  );
  if (found && found.number >= OLDEST_VERSION_NUMBER) return connection;
  await connection[Symbol.asyncDispose]();
  throw new HmsError(
    "FAILED_PRECONDITION",
    `The database is PostgreSQL ${found?.version}; the platform needs 15 or newer. Upgrade it, or unset DATABASE_URL to use the embedded one.`,
    { reason: "POSTGRES_TOO_OLD" },
  );
}
