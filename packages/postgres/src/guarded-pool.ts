import type { Duplex } from "node:stream";
import { HmsError } from "@hms/kernel";
import type { PostgresPool, PostgresPoolClient } from "kysely";
import { Client, Pool, type PoolClient, type PoolConfig } from "pg";
import { translatePgError } from "./pg-error.ts";
import { PoolPulse } from "./pool-pulse.ts";

/** A pg pool for Kysely whose errors are HmsErrors and which never hands out a broken connection twice. */
export interface GuardedPool extends PostgresPool {
  /** Connections that exist now, and how many of them are in use. */
  readonly size: { total: number; inUse: number };
  /** The rows of a statement that each connection prepares once. */
  prepared<Row>(statement: NamedStatement, parameters: readonly unknown[]): Promise<Row[]>;
}

const COMMIT = /^\s*commit\b/i;

/** A commit whose answer is lost may have happened: said by its own reason, for those who must know. */
function translate(error: unknown, sql: string): HmsError {
  const translated = translatePgError(error);
  if (translated.code !== "UNAVAILABLE" || !COMMIT.test(sql)) return translated;
  return new HmsError(
    "UNAVAILABLE",
    "The database connection broke during a commit: the change may have been made or not. Look before you repeat it.",
    { reason: "COMMIT_OUTCOME_UNKNOWN", cause: error },
  );
}

/** A statement that each connection parses and plans once; the name stands for the text. */
export interface NamedStatement {
  readonly name: string;
  readonly text: string;
}

const MOST_REPAIRS = 2;

function guard(client: PoolClient, pulse: PoolPulse): PostgresPoolClient {
  let broken: HmsError | undefined;
  const query = async (sql: string | NamedStatement, parameters: readonly unknown[]) => {
    // A rollback would wait behind the query that was not answered.
    if (broken !== undefined) throw broken;
    const done = pulse.watch({ since: performance.now(), cut: () => streamOf(client).destroy() });
    try {
      if (typeof sql !== "string") return await client.query({ ...sql, values: [...parameters] });
      return await client.query(sql, [...parameters]);
    } catch (error) {
      const translated = translate(error, typeof sql === "string" ? sql : sql.text);
      if (translated.code === "UNAVAILABLE") broken = translated;
      throw translated;
    } finally {
      done();
    }
  };
  return {
    query,
    release: (destroy?: boolean) => client.release(destroy || broken !== undefined),
    get processID() {
      return (client as unknown as { processID?: number }).processID;
    },
  } as unknown as PostgresPoolClient;
}

const streamOf = (client: PoolClient) => (client as unknown as { connection: { stream: Duplex } }).connection.stream;

/**
 * Opens a pool. `repair` is called when the role or its password is refused, and the connection then tried again: twice, as the
 * password may be replaced just after it was repaired.
 */
export function openGuardedPool(config: PoolConfig, repair: () => Promise<void>): GuardedPool {
  const pool = new Pool(config);
  const pulse = new PoolPulse(config);
  const guards = new WeakMap<PoolClient, PostgresPoolClient>();
  // An idle connection that breaks is removed by the pool; one in use fails its query. Neither may end the process.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  const connect = async (repairs = MOST_REPAIRS): Promise<PoolClient> => {
    try {
      return await pool.connect();
    } catch (error) {
      const translated = translatePgError(error);
      if (translated.code !== "UNAUTHENTICATED" || repairs === 0) throw translated;
      await repair();
      return connect(repairs - 1);
    }
  };
  const guarded = async () => {
    const client = await connect();
    const known = guards.get(client) ?? guard(client, pulse);
    guards.set(client, known);
    return known;
  };
  return {
    Client: Client as unknown as NonNullable<PostgresPool["Client"]>,
    options: pool.options,
    end: () => {
      pulse.close();
      return pool.end();
    },
    connect: guarded,
    prepared: async <Row>(statement: NamedStatement, parameters: readonly unknown[]) => {
      const client = await guarded();
      try {
        return (await client.query<Row>(statement as unknown as string, parameters)).rows;
      } finally {
        client.release();
      }
    },
    get size() {
      return { total: pool.totalCount, inUse: pool.totalCount - pool.idleCount };
    },
  };
}
