import { mkdirSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { createEvent, openEventLog, openOutbox, outboxTables } from "@hms/events";
import { openServiceDatabase } from "@hms/postgres";
import { startTestPostgres, tempInstance } from "@hms/testkit";
import { sql } from "kysely";
import type { ContenderFolder, EventContender } from "./contender.ts";

/** Ours: outbox, relay and a group with order by key, on the embedded PostgreSQL with its settings of production. */
export async function openHms({ folder }: ContenderFolder): Promise<EventContender> {
  await using stack = new AsyncDisposableStack();
  const instance = stack.use(tempInstance());
  const postgres = stack.use(await startTestPostgres(instance.paths, { settings: "" }));
  const { source } = postgres;
  const migrations = `${folder}/migrations`;
  mkdirSync(migrations);
  const fail = (failure: Error) => process.stderr.write(`${failure.message}\n`);
  const log = stack.use(await openEventLog({ source, onFailure: fail }));
  const database = stack.use(
    await openServiceDatabase({
      source,
      service: "bench",
      migrations: pathToFileURL(`${migrations}/`),
      components: [outboxTables],
    }),
  );
  const outbox = stack.use(await openOutbox({ log, database }));
  const { rows } = await sql<{ version: string }>`select current_setting('server_version') as version`.execute(
    database.db,
  );
  const owned = stack.move();
  return {
    name: "hms",
    version: `PostgreSQL ${rows[0]?.version}, fsync on; acknowledged: committed in the outbox`,
    publish: (key, body) =>
      outbox.publish([createEvent({ type: "bench.event", source: "/bench", partitionkey: key, data: body })]),
    consume: async (handle) => {
      await log.subscribe({ topics: ["bench.**"], group: "bench" }, (event) => handle(event.data as string));
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
