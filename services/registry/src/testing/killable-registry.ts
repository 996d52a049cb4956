import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { policy, registry } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { openTestDatabase, sharedPostgres, tempInstance } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { sql } from "kysely";
import { type RegistryTables, registryMigrations } from "../index.ts";

/** A registry in a process of its own, that can be killed. */
export interface KillableRegistry {
  client: ReturnType<typeof createClient<typeof registry.RegistryService>>;
  policies: ReturnType<typeof createClient<typeof policy.PolicyService>>;
  /** Ends the process by SIGKILL, now. */
  kill(): Promise<void>;
}

/** A table of the registry's schema. */
export type BlockedTable = keyof RegistryTables | "policy" | "revocation";

/** A database for registries that are killed, and what they leave there. */
export interface KillScene {
  start(): Promise<KillableRegistry>;
  /** Every row, without times and keys, and what was audited; keys are checked to be 32 bytes. */
  state(): Promise<unknown>;
  /**
   * Lets whoever changes a table wait there; `stuck` settles when somebody does, `release` lets them go on and settles when
   * who was stuck has gone.
   */
  block(table: BlockedTable): Promise<{ stuck(): Promise<void>; release(): Promise<void> }>;
}

const program = fileURLToPath(new URL("./registry-host.ts", import.meta.url));

/** Opens a scene that ends with the stack. */
export async function openKillScene(stack: AsyncDisposableStack): Promise<KillScene> {
  const own = stack.use(
    await openTestDatabase<RegistryTables>({ service: "registry", migrations: registryMigrations }),
  );
  const { paths, databaseUrl = "" } = await sharedPostgres();
  const { database = "" } = await own.source.admin();
  const { db } = own.database;

  const rows = async (text: ReturnType<typeof sql<object>>) => (await text.execute(db)).rows;
  const waiting = () =>
    sql<{ pid: number }>`select pid from pg_locks where not granted and relation::regclass::text ~ '[a-z]'
      and database = (select oid from pg_database where datname = current_database())`.execute(db);

  const audits: string[] = [];
  const audited = () => {
    const lines = audits.filter((file) => existsSync(file)).flatMap((file) => readFileSync(file, "utf8").split("\n"));
    return [...new Set(lines)].sort();
  };

  return {
    async start() {
      const socket = `${stack.use(tempInstance()).root}/r.sock`;
      audits.push(`${socket}.audit`);
      const argv = [program, socket, JSON.stringify(paths), database, databaseUrl];
      const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
      const ended = once(child, "exit");
      const kill = async () => {
        child.kill("SIGKILL");
        await ended;
      };
      stack.defer(kill);
      await once(child.stdout, "data");
      const transport = connectSocket({ path: socket, token: "test" });
      stack.defer(() => transport.close());
      const client = createClient(registry.RegistryService, transport);
      return { client, policies: createClient(policy.PolicyService, transport), kill };
    },
    state: () =>
      Promise.all([
        rows(sql<object>`select environment, service_id, version, metadata from service order by 1, 2, 3`),
        rows(sql<object>`select environment, service_id, version, instance_id, address, lease_ms, lost, registered_by,
          length(ticket_key) as key_bytes from instance order by 1, 2, 3, 4`),
        rows(
          sql<object>`select environment, service_id, version, encode(sha256, 'hex') as digest from contract order by 1, 2, 3`,
        ),
        rows(sql<object>`select environment, address, services from foreign_server order by 1, 2`),
        rows(sql<object>`select policy_id, service, method, allowed_roles, denied_roles from policy order by 1`),
        rows(sql<object>`select distinct principal, service_id from revocation order by 1, 2`),
        audited(),
      ]),
    async block(table) {
      const held = Promise.withResolvers<void>();
      const locked = Promise.withResolvers<void>();
      const done = own.database.transaction(async (transaction) => {
        await sql`lock table ${sql.ref(table)} in share mode`.execute(transaction);
        locked.resolve();
        await held.promise;
      });
      await locked.promise;
      let pids: number[] = [];
      const { waitFor } = await import("@hms/testkit");
      return {
        async stuck() {
          const look = async () => {
            pids = (await waiting()).rows.map(({ pid }) => pid);
            return pids.length > 0;
          };
          await waitFor(look, { describe: `somebody to wait for ${table}` });
        },
        async release() {
          held.resolve();
          await done;
          const gone = async () => {
            const { rows: left } = await sql`select from pg_stat_activity where pid = any(${pids}::int[])`.execute(db);
            return left.length === 0;
          };
          await waitFor(gone, { describe: "the killed registry's connections to end" });
        },
      };
    },
  };
}
