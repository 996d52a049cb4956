import type { InstancePaths } from "@hms/config";
import { type ConnectionSource, retryWhileUnavailable } from "@hms/postgres";
import { startTestPostgres, tempFolder, tempInstance } from "@hms/testkit";
import { sql } from "kysely";
import { type Durable, openDurable } from "../index.ts";
import { rowsOf } from "../run-database.ts";

/** A PostgreSQL that can be killed, and the run engine on it. */
export interface CrashArena extends AsyncDisposable {
  readonly paths: InstancePaths;
  /** The folder of PostgreSQL's socket. */
  readonly socketFolder: string;
  /** A folder for files of the test. */
  readonly folder: string;
  readonly durable: Durable;
  source(): ConnectionSource;
  /** Kills PostgreSQL, calls `meanwhile`, and starts it again. */
  restartDatabase(meanwhile: () => void): Promise<void>;
}

/** What has been acknowledged outlives a killed server; a power cut is not tested here. */
const KEEPING = { settings: "fsync = off\nfull_page_writes = off\n" };

export async function openCrashArena(): Promise<CrashArena> {
  await using stack = new AsyncDisposableStack();
  const { paths } = stack.use(tempInstance());
  const folder = tempFolder();
  stack.defer(async () => folder[Symbol.dispose]());
  let postgres = await startTestPostgres(paths, KEEPING);
  stack.defer(() => postgres[Symbol.asyncDispose]());
  const durable = stack.use(await openDurable({ source: postgres.source }));
  const owned = stack.move();
  return {
    paths,
    socketFolder: `${paths.run}/pg`,
    folder: folder.path,
    durable,
    source: () => postgres.source,
    restartDatabase: async (meanwhile) => {
      await postgres.kill();
      meanwhile();
      postgres = await startTestPostgres(paths, KEEPING);
      await retryWhileUnavailable(() => rowsOf(durable.database, sql`select 1`), { deadlineMs: 10_000 });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
