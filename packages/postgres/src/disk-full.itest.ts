import { execFileSync } from "node:child_process";
import { closeSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { startTestPostgres, type TempFolder, tempFolder, tempInstance } from "@hms/testkit";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openServiceDatabase, planEmbeddedPostgres } from "./index.ts";

/** Fills a disk until this many bytes are left. */
function fill(folder: string, leaveBytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  const file = openSync(`${folder}/ballast`, "a");
  const block = Buffer.alloc(64 * 1024, 1);
  for (let left = bavail * bsize - leaveBytes; left > 0; left -= block.length) {
    writeSync(file, block.subarray(0, Math.min(left, block.length)));
  }
  closeSync(file);
}

let folder: TempFolder;

describe.runIf(process.getuid?.() === 0)("on a full disk", () => {
  beforeAll(() => {
    folder = tempFolder();
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=120m,mode=755", "tmpfs", folder.path]);
  });
  afterAll(() => {
    execFileSync("umount", [folder.path]);
    folder[Symbol.dispose]();
  });

  const full = { code: "RESOURCE_EXHAUSTED", details: { reason: "DISK_FULL" } };

  test("a first start is refused with the room it needs, and works once there is room", async () => {
    await using instance = tempInstance({ parent: folder.path });
    fill(folder.path, 10 * 2 ** 20);
    const plan = planEmbeddedPostgres(instance.paths);
    await expect(plan.prepare()).rejects.toMatchObject(full);
    await expect(plan.prepare()).rejects.toThrow(/needs 64\.0 MiB/);
    rmSync(`${folder.path}/ballast`);
    await plan.prepare();
  });

  test("a write fails as RESOURCE_EXHAUSTED, what was committed stays, and writing goes on once there is room", async () => {
    await using instance = tempInstance({ parent: folder.path });
    using migrations = tempFolder({
      "0001_pages.sql": "create table pages (id int primary key, body bytea not null);",
    });
    await using postgres = await startTestPostgres(instance.paths, { settings: "" });
    const options = { source: postgres.source, service: "pages", migrations: migrations.url };
    await using pages = await openServiceDatabase<{ pages: { id: number; body: Buffer } }>(options);
    const write = (id: number) =>
      pages.db
        .insertInto("pages")
        .values({ id, body: sql<Buffer>`decode(repeat(md5(${id}::text), 8192), 'hex')` })
        .execute();
    fill(folder.path, 2 ** 20);
    let written = 0;
    const writeUntilFull = async () => {
      for (; written < 1000; written++) await write(written);
    };
    await expect(writeUntilFull()).rejects.toMatchObject(full);
    expect(written).toBeGreaterThan(0);
    const count = () =>
      pages.db.selectFrom("pages").select(sql<number>`count(*)::int`.as("count")).executeTakeFirstOrThrow();
    expect(await count()).toEqual({ count: written });
    rmSync(`${folder.path}/ballast`);
    await write(written);
    expect(await count()).toEqual({ count: written + 1 });
  });

  test("a later start is refused before PostgreSQL trips over it, and works once there is room", async () => {
    await using instance = tempInstance({ parent: folder.path });
    const plan = planEmbeddedPostgres(instance.paths);
    await plan.prepare();
    fill(folder.path, 0);
    await expect(plan.prepare()).rejects.toMatchObject(full);
    rmSync(`${folder.path}/ballast`);
    await using postgres = await startTestPostgres(instance.paths);
    expect(await postgres.plan.isReady()).toBe(true);
  });
});
