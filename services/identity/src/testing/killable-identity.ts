import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@hms/kernel";
import { openTestDatabase, sharedPostgres, tempFolder, tempInstance, waitFor } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { sql } from "kysely";
import { type IdentityTables, identityMigrations } from "../index.ts";
import { Browser, fetchAt } from "./browser.ts";
import type { HostTerms } from "./identity-host.ts";
import { OPERATOR_TOKEN } from "./serve-identity.ts";

/** The identity service in a process of its own, that can be killed. */
export interface KillableIdentity {
  /** Where all processes of the scene say that they are. */
  readonly origin: string;
  readonly port: number;
  browse(): Browser;
  /** A client of the operator. */
  client<S extends DescService>(service: S): Client<S>;
  /** Whom a session, key or access token stands for; undefined if for nobody. */
  whoIs(token: string): Promise<{ login: string } | undefined>;
  /** Ends the process by SIGKILL, now. */
  kill(): Promise<void>;
}

/** Advisory lock at which a write waits. */
const HOLD = 4711;
const program = fileURLToPath(new URL("./identity-host.ts", import.meta.url));

/** Opens a scene of killable processes on one database, that ends with the stack. */
export async function openKillScene(stack: AsyncDisposableStack, { poolSize }: { poolSize?: number } = {}) {
  const options = { service: "identity", migrations: identityMigrations, poolSize: 10 };
  const own = stack.use(await openTestDatabase<IdentityTables>(options));
  const { paths, databaseUrl = "" } = await sharedPostgres();
  const { database = "" } = await own.source.admin();
  const keyFile = `${stack.use(tempFolder()).path}/secrets.key`;
  const { db } = own.database;
  let origin: string | undefined;

  async function start(): Promise<KillableIdentity> {
    const socket = `${stack.use(tempInstance()).root}/i.sock`;
    const terms: HostTerms = {
      socket,
      paths,
      database,
      databaseUrl,
      keyFile,
      origin,
      ...(poolSize ? { poolSize } : {}),
    };
    const child = spawn(process.execPath, [program, JSON.stringify(terms)], { stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(child, "exit");
    const kill = async () => {
      child.kill("SIGKILL");
      await ended;
    };
    stack.defer(kill);
    const [said] = (await once(child.stdout, "data")) as [Buffer];
    const { port, origin: here } = JSON.parse(said.toString()) as { port: number; origin: string };
    origin ??= here;
    const at = origin;
    const transport = connectSocket({ path: socket, token: OPERATOR_TOKEN });
    stack.defer(() => transport.close());
    return {
      origin: at,
      port,
      browse: () => new Browser(at, port),
      client: (service) => createClient(service, transport),
      async whoIs(token) {
        const answer = await fetchAt(port)(`${at}/v1/whoami`, { headers: { authorization: `Bearer ${token}` } });
        return answer.status === 200 ? ((await answer.json()) as { login: string }) : undefined;
      },
      kill,
    };
  }

  return { database: own.database, start, holds: () => openHolds(db) };
}

/** Holds writes up, one time after another. */
export interface Holds {
  begin(): Promise<HeldWrites>;
}

/** Writes that are held up, until whoever waits is dropped. */
export interface HeldWrites {
  /** Runs work whose n-th write from now on waits; true if it does, false if the work ended before. */
  heldAt(n: number, work: () => Promise<unknown>): Promise<boolean>;
  /** Ends what waits, as a server does whose client has died in the middle, and lets nothing wait any more. */
  drop(): Promise<void>;
}

type Database = Awaited<ReturnType<typeof openTestDatabase<IdentityTables>>>["database"]["db"];

/** Counts every statement that writes to the identity schema, and lets one of them wait. */
async function openHolds(db: Database): Promise<Holds> {
  await sql`create sequence write_number`.execute(db);
  await sql`create table hold (at bigint not null)`.execute(db);
  await sql`insert into hold values (0)`.execute(db);
  await sql`create function count_write() returns trigger language plpgsql as $$ begin
    if nextval('write_number') = (select at from hold) then perform pg_advisory_xact_lock_shared(${sql.lit(HOLD)}); end if;
    return null; end $$`.execute(db);
  const { rows } = await sql<{ name: string }>`select tablename as name from pg_tables
    where schemaname = current_schema() and tablename not in ('hold') and tablename not like '%migration%'`.execute(db);
  for (const { name } of rows) {
    await sql`create trigger counted before insert or update or delete on ${sql.ref(name)}
      for each statement execute function count_write()`.execute(db);
  }
  const stuck = async () => {
    const found = await sql<{ pid: number }>`select pid from pg_locks where locktype = 'advisory' and not granted
      and objid = ${sql.lit(HOLD)} and database = (select oid from pg_database where datname = current_database())`.execute(
      db,
    );
    return found.rows.map(({ pid }) => pid);
  };
  return { begin: () => beginHold(db, stuck) };
}

async function beginHold(db: Database, stuck: () => Promise<number[]>): Promise<HeldWrites> {
  const held = Promise.withResolvers<void>();
  const locked = Promise.withResolvers<void>();
  const holding = db.connection().execute(async (connection) => {
    await sql`select pg_advisory_lock(${sql.lit(HOLD)})`.execute(connection);
    locked.resolve();
    await held.promise;
    await sql`select pg_advisory_unlock(${sql.lit(HOLD)})`.execute(connection);
  });
  await locked.promise;
  return {
    async heldAt(n, work) {
      const before = (await stuck()).length;
      await sql`update hold set at = ${n}`.execute(db);
      await sql`select setval('write_number', 1, false)`.execute(db);
      let isDone = false;
      const run = work().then(
        () => (isDone = true),
        () => (isDone = true),
      );
      void run;
      const look = async () => isDone || (await stuck()).length > before;
      await waitFor(look, { deadlineMs: 60_000, describe: "the work to end or to be held up" });
      await sql`update hold set at = 0`.execute(db);
      return (await stuck()).length > before;
    },
    async drop() {
      const pids = await stuck();
      await sql`select pg_terminate_backend(pid) from unnest(${pids}::int[]) as pid`.execute(db);
      held.resolve();
      await holding;
      const gone = async () => {
        const { rows: left } = await sql`select from pg_stat_activity where pid = any(${pids}::int[])`.execute(db);
        return left.length === 0;
      };
      await waitFor(gone, { describe: "the killed process's connections to end" });
    },
  };
}
