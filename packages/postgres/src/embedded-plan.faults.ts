import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import {
  collectProcesses,
  isThorough,
  startNodeProgram,
  startTestPostgres,
  type TempInstance,
  tempFolder,
  tempInstance,
  waitFor,
} from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { openAdmin, planEmbeddedPostgres } from "./index.ts";

/** Rarely broken and slow: played by `npm run test:thorough`. */
const thoroughly = test.skipIf(!isThorough);
const isRoot = process.getuid?.() === 0;
const root = { uid: 0, gid: 0 };

async function remember(instance: TempInstance, word: string): Promise<void> {
  await using postgres = await startTestPostgres(instance.paths);
  await using admin = await openAdmin(postgres.source);
  await admin.query("CREATE TABLE memory (word text)");
  await admin.query("INSERT INTO memory VALUES ($1)", [word]);
  await postgres.stop();
}

async function recall(postgres: { source: Parameters<typeof openAdmin>[0] }): Promise<unknown> {
  await using admin = await openAdmin(postgres.source);
  return (await admin.query("SELECT word FROM memory"))[0]?.word;
}

describe("the embedded PostgreSQL", () => {
  test("listens on a private socket only, asks for a password, and is durable", async () => {
    await using instance = tempInstance();
    await using postgres = await startTestPostgres(instance.paths, { settings: "" });
    const { plan } = postgres;
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
    expect(plan.ownedDirectories.map(mode)).toEqual(["700", "700"]);
    expect(mode(`${instance.paths.run}/pg/.s.PGSQL.5432`)).toBe("600");
    expect(mode(`${instance.paths.config}/postgres.password`)).toBe("600");
    await using admin = await openAdmin(postgres.source);
    const settings = await admin.query<{ name: string; setting: string }>(
      "SELECT name, setting FROM pg_settings WHERE name IN ('listen_addresses', 'fsync', 'synchronous_commit', 'data_checksums', 'jit', 'server_encoding')",
    );
    expect(Object.fromEntries(settings.map(({ name, setting }) => [name, setting]))).toEqual({
      data_checksums: "on",
      fsync: "on",
      jit: "off",
      listen_addresses: "",
      server_encoding: "UTF8",
      synchronous_commit: "on",
    });
    const [locale] = await admin.query(
      "SELECT datlocprovider AS provider, datlocale AS locale FROM pg_database WHERE datname = 'postgres'",
    );
    expect(locale).toEqual({ provider: "b", locale: "C.UTF-8" });
    const rules = await admin.query("SELECT DISTINCT type, auth_method FROM pg_hba_file_rules");
    expect(rules).toEqual([{ type: "local", auth_method: "scram-sha-256" }]);
  });

  thoroughly("works in folders with blanks, commas and quotes in their names", async () => {
    const name = `it's a "b", c`;
    using parent = tempFolder({ [`${name}/x`]: "" });
    await using instance = tempInstance({ parent: `${parent.path}/${name}` });
    await using postgres = await startTestPostgres(instance.paths);
    expect(await postgres.plan.isReady()).toBe(true);
  });

  thoroughly("keeps its data, takes our new settings at each start and leaves the operator's own", async () => {
    await using instance = tempInstance();
    await remember(instance, "kept");
    writeFileSync(`${instance.paths.data}/postgres/postgresql.conf`, "work_mem = '1MB'\n");
    await using postgres = await startTestPostgres(instance.paths, { settings: "work_mem = '7MB'\n" });
    expect(await recall(postgres)).toBe("kept");
    await using admin = await openAdmin(postgres.source);
    expect(await admin.query("SELECT current_setting('work_mem') AS work_mem")).toEqual([{ work_mem: "7MB" }]);
    expect(readFileSync(`${postgres.plan.cwd}/postgresql.conf`, "utf8")).toContain("shared_buffers = 32MB");
  });

  test("runs once per data directory: a second start is refused and names the first, which can be adopted", async () => {
    await using instance = tempInstance();
    await using postgres = await startTestPostgres(instance.paths);
    const second = planEmbeddedPostgres(instance.paths);
    await expect(second.prepare()).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      details: { reason: "POSTGRES_ALREADY_RUNNING", metadata: { pid: String(postgres.pid) } },
    });
    const stat = readFileSync(`/proc/${postgres.pid}/stat`, "latin1");
    const startTicks = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
    expect(second.running()).toMatchObject({ pid: postgres.pid, startTicks, state: "ready" });
    await postgres.stop();
    expect(second.running()).toBeUndefined();
    expect(await second.isReady()).toBe(false);
  });

  test("starts after SIGKILL and after a reboot, although the pid in its lock files is somebody else's by now", async () => {
    await using instance = tempInstance();
    const processes = collectProcesses(instance.root);
    await using postgres = await startTestPostgres(instance.paths);
    await postgres.kill();
    const lock = `${postgres.plan.cwd}/postmaster.pid`;
    for (const file of [lock, `${instance.paths.run}/pg/.s.PGSQL.5432.lock`]) {
      writeFileSync(file, readFileSync(file, "utf8").replace(String(postgres.pid), String(process.pid)));
    }
    await using again = await startTestPostgres(instance.paths);
    expect(await again.plan.isReady()).toBe(true);
    await again.stop();
    await processes.assertNoneLeft();
  });

  test("is set up whole or not at all: a set-up killed halfway is begun anew and leaves nothing behind", async () => {
    await using instance = tempInstance();
    const processes = collectProcesses(instance.root);
    await using program = startNodeProgram(prepareProgram(instance));
    const drafts = () => readdirSync(instance.paths.data).filter((name) => name.includes("draft"));
    await waitFor(() => existsSync(`${instance.paths.data}/${drafts()[0]}/base`), { describe: "initdb to be at work" });
    program.child.kill("SIGKILL");
    await program.output().catch(() => {});
    expect(existsSync(`${instance.paths.data}/postgres`)).toBe(false);
    await using postgres = await startTestPostgres(instance.paths);
    await postgres.stop();
    await processes.assertNoneLeft();
    expect(drafts()).toEqual([]);
  });

  thoroughly("can be set up by two processes at once", async () => {
    await using instance = tempInstance();
    const programs = [1, 2].map(() => startNodeProgram(prepareProgram(instance)));
    await Promise.all(programs.map((program) => program.output()));
    await using postgres = await startTestPostgres(instance.paths);
    expect(await postgres.plan.isReady()).toBe(true);
    expect(readdirSync(instance.paths.data).sort()).toEqual(["postgres", "run"]);
  });

  thoroughly("gets a new administrator's password if the old one was lost", async () => {
    await using instance = tempInstance();
    await remember(instance, "still here");
    rmSync(`${instance.paths.config}/postgres.password`);
    await using postgres = await startTestPostgres(instance.paths);
    expect(await recall(postgres)).toBe("still here");
  });

  thoroughly("refuses the data of another major version and says which", async () => {
    await using instance = tempInstance();
    await planEmbeddedPostgres(instance.paths).prepare();
    writeFileSync(`${instance.paths.data}/postgres/PG_VERSION`, "17\n");
    await expect(planEmbeddedPostgres(instance.paths).prepare()).rejects.toThrow(
      /was written by PostgreSQL 17; this release carries PostgreSQL 18/,
    );
  });

  thoroughly("that does not start says which setting of the operator is wrong", async () => {
    await using instance = tempInstance();
    const start = startTestPostgres(instance.paths, { settings: "no_such_setting = 1\n" });
    await expect(start).rejects.toMatchObject({ details: { reason: "POSTGRES_SETTINGS" } });
    await expect(start).rejects.toThrow(/no_such_setting/);
  });

  thoroughly("ends when the process that started it for a test is killed", async () => {
    await using instance = tempInstance();
    const processes = collectProcesses(instance.root);
    await using program = startNodeProgram(`
      import { startTestPostgres } from ${JSON.stringify(import.meta.resolve("@hms/testkit"))};
      await startTestPostgres(${JSON.stringify(instance.paths)});
      setInterval(() => {}, 1000);
    `);
    const plan = planEmbeddedPostgres(instance.paths);
    await waitFor(() => plan.isReady(), { describe: "the program's PostgreSQL" });
    program.child.kill("SIGKILL");
    await processes.assertNoneLeft();
  });
});

const prepareProgram = ({ paths }: TempInstance) => `
  import { planEmbeddedPostgres } from ${JSON.stringify(import.meta.resolve("./index.ts"))};
  await planEmbeddedPostgres(${JSON.stringify(paths)}).prepare();
`;

describe.runIf(isRoot)("the embedded PostgreSQL started by root", () => {
  test("runs without any capability, also where only root may go", async () => {
    using parent = tempFolder();
    chmodSync(parent.path, 0o700);
    await using instance = tempInstance({ parent: parent.path });
    await using postgres = await startTestPostgres(instance.paths);
    expect(postgres.plan.user.mode).toBe("user-namespace");
    const status = readFileSync(`/proc/${postgres.pid}/status`, "utf8");
    expect(status).toMatch(/^CapEff:\s+0000000000000000$/m);
  });

  thoroughly(
    "runs as a user of its own where namespaces are refused, and keeps its data when that changes",
    async () => {
      await using instance = tempInstance();
      {
        await using postgres = await startTestPostgres(instance.paths, {
          identity: { ...root, mode: "dedicated-user" },
        });
        expect(statSync(`/proc/${postgres.pid}`).uid).toBe(postgres.plan.user.uid);
        expect(postgres.plan.user.uid).not.toBe(0);
        await using admin = await openAdmin(postgres.source);
        await admin.query("CREATE TABLE memory AS SELECT 'moved' AS word");
        await postgres.stop();
      }
      await using postgres = await startTestPostgres(instance.paths, { identity: { ...root, mode: "user-namespace" } });
      expect(await recall(postgres)).toBe("moved");
    },
  );

  test("says which folder is in the way if there is no user it could run as", () => {
    using parent = tempFolder();
    chmodSync(parent.path, 0o700);
    const instance = tempInstance({ parent: parent.path });
    expect(() => planEmbeddedPostgres(instance.paths, { ...root, mode: "dedicated-user" })).toThrow(
      new RegExp(`may not pass ${parent.path}, which is on the way to .* choose a data directory`),
    );
  });

  thoroughly("finds its libraries where dependencies are read-only and their links are missing", async () => {
    using dependencies = tempFolder({
      "native/pg-symlinks.json": JSON.stringify([{ source: "native/lib/a.so.5.18", target: "native/lib/a.so.5" }]),
      "native/lib/a.so.5.18": "a library",
    });
    await using instance = tempInstance({ owner: { uid: 65534, gid: 65534 } });
    const links = `${instance.paths.data}/links`;
    const program = startNodeProgram(
      `
      import { findPostgresBinaries } from ${JSON.stringify(import.meta.resolve("./postgres-binaries.ts"))};
      const { env } = findPostgresBinaries(${JSON.stringify(links)}, ${JSON.stringify(`${dependencies.path}/native`)});
      console.log(JSON.stringify(env));
    `,
      { as: { uid: 65534, gid: 65534 } },
    );
    expect(JSON.parse(await program.output())).toEqual({ LD_LIBRARY_PATH: links });
    expect(readFileSync(`${links}/a.so.5`, "utf8")).toBe("a library");
  });

  test.each([
    ["nobody", { uid: 65534, gid: 65534 }, "direct"],
    ["a user without a name", { uid: 54321, gid: 54321 }, "user-namespace"],
  ])("serves %s as well", async (_who, owner, mode) => {
    await using instance = tempInstance({ owner });
    const processes = collectProcesses(instance.root);
    await using program = startNodeProgram(
      `
      import { startTestPostgres } from ${JSON.stringify(import.meta.resolve("@hms/testkit"))};
      import { openAdmin } from ${JSON.stringify(import.meta.resolve("./index.ts"))};
      await using postgres = await startTestPostgres(${JSON.stringify(instance.paths)});
      await using admin = await openAdmin(postgres.source);
      const [row] = await admin.query("SELECT current_user AS role");
      console.log(JSON.stringify([process.getuid(), postgres.plan.user.mode, row.role]));
    `,
      { as: owner },
    );
    expect(JSON.parse(await program.output())).toEqual([owner.uid, mode, "hms"]);
    await processes.assertNoneLeft();
  });
});

test("a folder of the installation that cannot be written to is named", async () => {
  await using instance = tempInstance();
  rmSync(instance.paths.data, { recursive: true });
  writeFileSync(instance.paths.data, "a file, not a folder");
  await expect(planEmbeddedPostgres(instance.paths).prepare()).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
    message: expect.stringContaining(instance.paths.data),
  });
});
