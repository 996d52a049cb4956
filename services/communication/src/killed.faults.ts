import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openAdmin } from "@hms/postgres";
import { sharedPostgres, waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AuditScene, eventOf } from "./testing/audit-scene.ts";
import type { DrainOrders } from "./testing/drain-program.ts";

let scene: AuditScene;
beforeEach(async () => {
  scene = await AuditScene.open();
});
afterEach(() => scene[Symbol.asyncDispose]());

const program = (name: string) => fileURLToPath(new URL(`testing/${name}.ts`, import.meta.url));
const start = (name: string, argument: string) =>
  spawn(process.execPath, [program(name), argument], { stdio: ["ignore", "pipe", "inherit"] });

/** Kills a writer once it has said so often that its events are kept; answers with the last that it has said so of. */
async function killedWriter(events: number): Promise<number> {
  const child = start("writer-program", `${scene.spools}/server`);
  let said = "";
  child.stdout.on("data", (chunk) => {
    said += chunk;
    if (said.split("\n").length > events) child.kill("SIGKILL");
  });
  await once(child, "close");
  return Number(said.trimEnd().split("\n").at(-1));
}

async function startDrain(dies: DrainOrders["dies"], at = 0) {
  const { paths, databaseUrl } = await sharedPostgres();
  const { rows } = await sql<{ name: string }>`select current_database() as name`.execute(scene.own.database.db);
  const database = rows[0]?.name ?? "";
  const orders: DrainOrders = { paths, databaseUrl, database, folder: scene.folder, dies, at };
  return start("drain-program", JSON.stringify(orders));
}

async function killedDrain(dies: DrainOrders["dies"], at: number): Promise<void> {
  const [, signal] = await once(await startDrain(dies, at), "close");
  expect(signal).toBe("SIGKILL");
}

const keptNumber = async () => {
  const { rows } = await sql<{ number: string }>`select number from checkpoint_head`.execute(scene.own.database.db);
  return Number(rows[0]?.number ?? 0);
};

/** What a process has sent before it was killed reaches PostgreSQL long before. */
const ASKED_MS = 3_000;

/** Kills who signs a checkpoint once its line is on disk, while the row that says so cannot be written. */
async function killedSigner(): Promise<void> {
  const { db } = scene.own.database;
  const before = scene.checkpoints().length;
  await db.transaction().execute(async (transaction) => {
    // Readers are let in.
    await sql`lock table checkpoint_head in exclusive mode`.execute(transaction);
    const child = await startDrain("by others");
    const ended = once(child, "close");
    await waitFor(() => scene.checkpoints().length > before, { describe: "the checkpoint's line" });
    child.kill("SIGKILL");
    await ended;
    // If it has asked for the row already, PostgreSQL would go on for a client that is gone, and write it after all.
    await using admin = await openAdmin(scene.own.source);
    const waiting = async () =>
      (
        await admin.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where query like 'insert into checkpoint_head%' and datname = current_database()",
        )
      ).length > 0;
    for (const until = performance.now() + ASKED_MS; !(await waiting()) && performance.now() < until; ) await delay(20);
  });
}

/** What every event is about, oldest first. */
async function found(): Promise<string[]> {
  const resources: string[] = [];
  for (let pageToken = ""; ; ) {
    const page = await scene.client().searchEvents({ pageSize: 1000, pageToken });
    resources.push(...page.events.map(({ resource }) => resource));
    pageToken = page.nextPageToken;
    if (pageToken === "") return resources.reverse();
  }
}

test("kill -9 of who writes a spool and of who empties it, between any two steps, loses no event and doubles none", async () => {
  const first = await killedWriter(60);
  await killedDrain("before the commit", 1);
  await killedDrain("after the commit", 3);
  const second = await killedWriter(20);
  await killedDrain("before the commit", 2);
  await scene.start();
  let numbers: number[] = [];
  const isAll = async () => {
    numbers = (await found()).map((resource) => Number(resource.slice("kept-".length)));
    return numbers.length >= first + second && (numbers.at(-1) ?? 0) >= second && numbers.lastIndexOf(1) > 0;
  };
  await waitFor(isAll, { describe: () => `${first} and ${second} events, not ${numbers.length}` });
  // What was recorded last may have come through although nobody was told any more that it was kept.
  const run = (last: number) => Array.from({ length: last }, (_, index) => index + 1);
  const cut = numbers.lastIndexOf(1);
  expect(numbers.slice(0, cut)).toEqual(run(cut));
  expect([first, first + 1]).toContain(cut);
  expect(numbers.slice(cut)).toEqual(run(numbers.length - cut));
  expect([second, second + 1]).toContain(numbers.length - cut);
  expect(await scene.verify()).toMatchObject({ integrity: [], completeness: [] });
}, 60_000);

test("kill -9 between a checkpoint's line on disk and its row loses neither, and the next one goes on from it", async () => {
  await scene.start();
  const spool = scene.spool();
  for (let n = 1; n <= 5; n += 1) spool.record(eventOf({ resource: `kept-${n}` }));
  await scene.until(5);
  await scene.log?.checkpoint();
  await scene.stop();
  const before = await keptNumber();
  await killedSigner();
  // The line is there, and nobody in the database knows of it.
  expect([scene.checkpoints().length, await keptNumber()]).toEqual([before + 1, before]);
  expect(await scene.verify()).toMatchObject({ integrity: [], completeness: [] });
  await killedSigner();
  expect([scene.checkpoints().length, await keptNumber()]).toEqual([before + 2, before]);
  await scene.start();
  await scene.log?.checkpoint();
  expect([scene.checkpoints().length, await keptNumber()]).toEqual([before + 3, before + 3]);
  expect(await scene.verify()).toMatchObject({ integrity: [], completeness: [] });
}, 60_000);
