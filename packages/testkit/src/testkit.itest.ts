import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { sql } from "kysely";
import { describe, expect, test } from "vitest";
import {
  collectProcesses,
  freePort,
  openTestDatabase,
  startNodeProgram,
  tempFolder,
  tempInstance,
  waitFor,
} from "./index.ts";

describe("a test's database", () => {
  test("is migrated, a test file's own, and gone afterwards", async () => {
    using migrations = tempFolder({ "0001_notes.sql": "create table notes (id int primary key);" });
    const options = { service: "kit", migrations: migrations.url };
    const insert = sql`insert into notes values (1)`;
    await using one = await openTestDatabase(options);
    await using other = await openTestDatabase(options);
    await insert.execute(one.database.db);
    expect((await sql`select * from notes`.execute(other.database.db)).rows).toEqual([]);
    expect(one.database.applied).toEqual([]);
  });

  test("fails the test that leaves a transaction open, and names what it was", async () => {
    using migrations = tempFolder({ "0001_notes.sql": "create table notes (id int primary key);" });
    const opened = await openTestDatabase({ service: "kit", migrations: migrations.url });
    const inside = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const leaked = opened.database.transaction(async (transaction) => {
      await sql`select 'left open'`.execute(transaction);
      inside.resolve();
      await release.promise;
    });
    leaked.catch(() => {});
    await inside.promise;
    const dispose = async () => opened[Symbol.asyncDispose]();
    const problem: unknown = await dispose().catch((error: unknown) => error);
    release.resolve();
    await leaked.catch(() => {});
    expect(String((problem as SuppressedError).suppressed ?? problem)).toContain("connections of kit are still in use");
    expect(String((problem as SuppressedError).error)).toContain("select 'left open'");
  });
});

describe("processes of a test", () => {
  test("that are left behind are found, named, and found gone once they have ended", async () => {
    const processes = collectProcesses();
    const child = spawn("sleep", ["1000"], { stdio: "ignore" });
    expect(processes.running().map(({ pid }) => pid)).toContain(child.pid);
    await expect(processes.assertNoneLeft(50)).rejects.toThrow(/sleep 1000/);
    child.kill();
    await once(child, "exit");
    await processes.assertNoneLeft();
  });

  test("that have detached themselves are found by the folder they work in", async () => {
    using folder = tempFolder();
    const processes = collectProcesses(folder.path);
    await using starter = startNodeProgram(`
      import { spawn } from "node:child_process";
      const child = spawn("sleep", ["1000"], { cwd: ${JSON.stringify(folder.path)}, detached: true, stdio: "ignore" });
      child.unref();
      console.log(child.pid);
    `);
    const pid = Number(await starter.output());
    expect(processes.running()).toEqual([expect.objectContaining({ pid, cwd: folder.path })]);
    process.kill(pid);
    await processes.assertNoneLeft();
  });
});

describe("small things", () => {
  test("waiting ends with what was found, or says what was missing and why", async () => {
    let looks = 0;
    expect(await waitFor(() => (++looks === 3 ? "found" : undefined), { describe: "it" })).toBe("found");
    const never = () => {
      throw new RangeError("not there");
    };
    const failure = waitFor(never, { deadlineMs: 30, describe: () => `it after ${looks} looks` });
    await expect(failure).rejects.toThrow("Waited 30 ms for it after 3 looks.");
    await expect(failure).rejects.toMatchObject({ cause: expect.any(RangeError) });
  });

  test("a free port can be listened on", async () => {
    const server = createServer().listen(await freePort(), "127.0.0.1");
    await once(server, "listening");
    server.close();
  });

  test("a temporary installation is complete, short enough for sockets, and gone afterwards", async () => {
    let root: string;
    {
      await using instance = tempInstance();
      root = instance.root;
      const { data, run, config, agentSocket } = instance.paths;
      expect([data, run, config].every((path) => existsSync(path) && path.startsWith(root))).toBe(true);
      expect(agentSocket.length).toBeLessThan(50);
    }
    expect(existsSync(root)).toBe(false);
  });
});
