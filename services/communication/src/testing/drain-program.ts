import type { InstancePaths } from "@hms/config";
import { connectionSource, openServiceDatabase } from "@hms/postgres";
import { openSealingKey } from "@hms/secrets";
import { type CommunicationTables, communicationMigrations, openAuditLog } from "../index.ts";

/** Where the program works, and at which of its transactions it dies how. */
export interface DrainOrders {
  readonly paths: InstancePaths;
  readonly databaseUrl: string | undefined;
  readonly database: string;
  readonly folder: string;
  /** "by others": who has started it kills it. */
  readonly dies: "before the commit" | "after the commit" | "by others";
  readonly at: number;
}

const orders = JSON.parse(process.argv[2] ?? "") as DrainOrders;
const { paths, databaseUrl, folder, dies, at } = orders;
const database = await openServiceDatabase<CommunicationTables>({
  source: connectionSource(paths, databaseUrl).withDatabase(orders.database),
  service: "communication",
  migrations: communicationMigrations,
});
const die = () => process.kill(process.pid, "SIGKILL");
let transactions = 0;
await openAuditLog({
  database: {
    db: database.db,
    async transaction(work) {
      transactions += 1;
      const isLast = transactions === at && dies !== "by others";
      const result = await database.transaction(async (transaction) => {
        const done = await work(transaction);
        if (isLast && dies === "before the commit") die();
        return done;
      });
      if (isLast) die();
      return result;
    },
  },
  spools: `${folder}/audit`,
  keys: `${folder}/keys`,
  sealing: openSealingKey(`${folder}/config/secrets.key`),
  pollMs: 1,
  batchEvents: 7,
  // It is about checkpoints then, and about transactions otherwise.
  firstCheckpointMs: dies === "by others" ? 300 : 3600_000,
});
