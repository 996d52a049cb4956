import { readFileSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { startTestPostgres, type TempFolder, tempFolder, tempInstance, waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ConnectionSource, openServiceDatabase, retryWhileUnavailable } from "./index.ts";

interface Schema {
  entries: { id: number };
}

let folder: TempFolder;
beforeAll(() => {
  folder = tempFolder({ "0001_entries.sql": "create table entries (id int primary key);" });
});
afterAll(() => folder[Symbol.dispose]());

const openEntries = (source: ConnectionSource) =>
  openServiceDatabase<Schema>({ source, service: "entries", migrations: folder.url });

/** Durable, as in production: what was acknowledged must be there after the crash. */
const DURABLE = { settings: "" };

describe("when PostgreSQL is killed", () => {
  test("under load, nothing acknowledged is lost and every pool goes on once it is back", async () => {
    await using instance = tempInstance();
    await using first = await startTestPostgres(instance.paths, DURABLE);
    await using entries = await openEntries(first.source);
    const acknowledged: number[] = [];
    const seen = new Set<string>();
    let next = 0;
    let isOver = false;
    const write = async () => {
      const id = next++;
      const insert = async () => {
        try {
          await entries.db
            .insertInto("entries")
            .values({ id })
            .onConflict((row) => row.doNothing())
            .execute();
        } catch (error) {
          seen.add((error as { code: string }).code);
          throw error;
        }
      };
      await retryWhileUnavailable(insert, { deadlineMs: 20_000 });
      acknowledged.push(id);
    };
    const writer = async () => {
      while (!isOver) await write();
    };
    const writers = Array.from({ length: 8 }, writer);
    await waitFor(() => acknowledged.length > 200, { describe: "the load" });
    await first.kill();
    await using _second = await startTestPostgres(instance.paths, DURABLE);
    const after = acknowledged.length;
    await waitFor(() => acknowledged.length > after + 200, { describe: "the load to go on" });
    isOver = true;
    await Promise.all(writers);
    expect([...seen]).toEqual(["UNAVAILABLE"]);
    const rows = await entries.db.selectFrom("entries").select("id").execute();
    expect(new Set(rows.map(({ id }) => id))).toEqual(new Set(acknowledged));
  });

  test("a transaction in flight fails as UNAVAILABLE, is undone, and its lock is reported lost", async () => {
    await using instance = tempInstance();
    await using first = await startTestPostgres(instance.paths, DURABLE);
    await using entries = await openEntries(first.source);
    const inside = Promise.withResolvers<void>();
    const killed = Promise.withResolvers<void>();
    const transaction = entries.transaction(async (open) => {
      await open.insertInto("entries").values({ id: 1 }).execute();
      inside.resolve();
      await killed.promise;
      await open.insertInto("entries").values({ id: 2 }).execute();
    });
    const failed = expect(transaction).rejects.toMatchObject({ code: "UNAVAILABLE" });
    const locked = Promise.withResolvers<void>();
    const lock = entries.withAdvisoryLock("work", (lost) => {
      locked.resolve();
      return new Promise<string>((resolve) => lost.addEventListener("abort", () => resolve("lost")));
    });
    await Promise.all([inside.promise, locked.promise]);
    await first.kill();
    killed.resolve();
    await failed;
    expect(await lock).toBe("lost");
    await expect(entries.waitUntilUp(100)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await using _second = await startTestPostgres(instance.paths, DURABLE);
    await entries.waitUntilUp(5000);
    expect(await entries.db.selectFrom("entries").select("id").execute()).toEqual([]);
  });

  test("listeners listen again and are told that they may have missed something", async () => {
    await using instance = tempInstance();
    await using first = await startTestPostgres(instance.paths, DURABLE);
    await using entries = await openEntries(first.source);
    const heard: (string | undefined)[] = [];
    await using _listening = await entries.listen("changed", (payload) => heard.push(payload));
    await entries.notify("changed", "before");
    await waitFor(() => heard.length === 1, { describe: "the first hint" });
    await first.kill();
    await using _second = await startTestPostgres(instance.paths, DURABLE);
    await waitFor(() => heard.length === 2, { describe: "the reconnection" });
    await retryWhileUnavailable(() => entries.notify("changed", "after"), { deadlineMs: 5000 });
    await waitFor(() => heard.length === 3, { describe: "the hint after it" });
    expect(heard).toEqual(["before", undefined, "after"]);
  });

  test("and a single backend with it, the others recover without a restart of ours", async () => {
    await using instance = tempInstance();
    await using server = await startTestPostgres(instance.paths, DURABLE);
    await using entries = await openEntries(server.source);
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(entries.db);
    process.kill(rows[0]?.pid ?? 0, "SIGKILL");
    const write = (id: number) => entries.db.insertInto("entries").values({ id }).execute();
    await retryWhileUnavailable(() => write(1), { deadlineMs: 10_000 });
    expect(server.plan.running()?.pid).toBe(server.pid);
  });

  test("retrying ends at its deadline with the last error, and at once for any other error", async () => {
    await using instance = tempInstance();
    await using server = await startTestPostgres(instance.paths, DURABLE);
    await using entries = await openEntries(server.source);
    let attempts = 0;
    const broken = () => {
      attempts += 1;
      return sql`select nothing`.execute(entries.db);
    };
    await expect(retryWhileUnavailable(broken, { deadlineMs: 5000 })).rejects.toMatchObject({ code: "INTERNAL" });
    expect(attempts).toBe(1);
    await server.stop();
    const control = new AbortController();
    const patient = retryWhileUnavailable(() => entries.notify("x"), { deadlineMs: 60_000, signal: control.signal });
    await nextTurn();
    control.abort();
    await expect(patient).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(
      openServiceDatabase({ source: server.source, service: "late", migrations: folder.url, deadlineMs: 100 }),
    ).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});

describe("when PostgreSQL stands still", () => {
  /** It and its children, which do the work. */
  const all = (pid: number) => [pid, ...childrenOf(pid)];
  const childrenOf = (pid: number) =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);

  test("queries and transactions that wait for it fail as UNAVAILABLE in time, one that is slow does not", async () => {
    await using instance = tempInstance();
    await using server = await startTestPostgres(instance.paths);
    await using entries = await openEntries(server.source);
    const slow = sql`select pg_sleep(12)`.execute(entries.db).then(() => "OK");
    await sql`select 1`.execute(entries.db);
    // Its connection is there, the way to it is not.
    expect(await slow).toBe("OK");
    const stopped = all(server.pid);
    for (const pid of stopped) process.kill(pid, "SIGSTOP");
    const began = performance.now();
    const ends = await Promise.all(
      [
        sql`select 1`.execute(entries.db),
        entries.transaction((open) => open.insertInto("entries").values({ id: 1 }).execute()),
      ].map((each) => each.then(() => "OK").catch(({ code }) => code)),
    );
    expect(ends).toEqual(["UNAVAILABLE", "UNAVAILABLE"]);
    expect(performance.now() - began).toBeLessThan(25_000);
    for (const pid of stopped) process.kill(pid, "SIGCONT");
    const again = async () => (await sql<{ id: number }>`select id from entries`.execute(entries.db)).rows;
    expect(await retryWhileUnavailable(again, { deadlineMs: 10_000 })).toEqual([]);
  }, 60_000);
});
