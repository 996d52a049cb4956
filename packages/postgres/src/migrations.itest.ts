import { openEmptyDatabase, sharedPostgres, startNodeProgram, type TempFolder, tempFolder } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ConnectionSource, openAdmin, openServiceDatabase } from "./index.ts";

interface Schema {
  notes: { id: number; text: string };
}

const NOTES = "create table notes (id int primary key, text text not null unique);\n";
let folder: TempFolder;
beforeAll(() => {
  folder = tempFolder({ "0001_notes.sql": NOTES });
});
afterAll(() => folder[Symbol.dispose]());

const openNotes = (source: ConnectionSource, service = "notes", migrations = folder.url) =>
  openServiceDatabase<Schema>({ source, service, migrations });

describe("migrations", () => {
  test("are applied once, however many processes start at the same moment", async () => {
    await using place = await openEmptyDatabase();
    const files = Object.fromEntries(
      [1, 2, 3, 4].map((n) => [`000${n}_t.sql`, `create table t${n} (id int); insert into t${n} values (${n});`]),
    );
    using several = tempFolder(files);
    const { paths, databaseUrl } = await sharedPostgres();
    const program = `
      import { connectionSource, openServiceDatabase } from ${JSON.stringify(import.meta.resolve("./index.ts"))};
      const source = connectionSource(...${JSON.stringify([paths, ...(databaseUrl ? [databaseUrl] : [])])}).withDatabase(${JSON.stringify(place.name)});
      await using opened = await openServiceDatabase({ source, service: "several", migrations: new URL(${JSON.stringify(several.url.href)}) });
      console.log(opened.applied.length);
    `;
    const programs = [1, 2, 3].map(() => startNodeProgram(program));
    const applied = await Promise.all(programs.map(async (started) => Number(await started.output())));
    expect(applied.sort()).toEqual([0, 0, 4]);
    await using admin = await openAdmin(place.source);
    expect(await admin.query("SELECT name FROM several.migrations ORDER BY name")).toHaveLength(4);
    expect(await admin.query("SELECT id FROM several.t4")).toEqual([{ id: 4 }]);
  });

  test("that fail leave nothing behind and name file, line and column", async () => {
    await using place = await openEmptyDatabase();
    using broken = tempFolder({
      "0001_notes.sql": NOTES,
      "0002_more.sql": "-- more tables\ncreate table more (id int);\n\ncreate table most (\n  id int,\n  när tex\n);\n",
    });
    const opening = openNotes(place.source, "notes", broken.url);
    await expect(opening).rejects.toThrow(/Migration 0002_more\.sql, line 6, column 7: type "tex" does not exist/);
    await using admin = await openAdmin(place.source);
    expect(await admin.query("SELECT name FROM notes.migrations")).toEqual([{ name: "0001_notes.sql" }]);
    expect(await admin.query("SELECT to_regclass('notes.more') AS more")).toEqual([{ more: null }]);
  });

  test.each([
    ["select 1;\ncreate table notes (id int);\n", 2, "already exists"],
    ["insert into notes values\n (1, null);\n", 1, "not-null"],
    ["do $$\nbegin\n  raise exception 'not today';\nend $$;", 1, "not today"],
    ["select 1;\n\ncommit;\n", 3, "one transaction of ours"],
  ])("that fail without a position name the statement's line (%j)", async (text, line, why) => {
    await using place = await openEmptyDatabase();
    using broken = tempFolder({ "0001_notes.sql": NOTES, "0002_broken.sql": text });
    await expect(openNotes(place.source, "notes", broken.url)).rejects.toMatchObject({
      message: expect.stringContaining(why),
      details: { reason: "MIGRATION_FAILED", metadata: { file: "0002_broken.sql", line: String(line) } },
    });
  });

  test("of a newer release do not keep the previous one from working", async () => {
    await using place = await openEmptyDatabase();
    using newer = tempFolder({ "0001_notes.sql": NOTES, "0002_more.sql": "create table more (id int);" });
    {
      await using ahead = await openNotes(place.source, "notes", newer.url);
      expect(ahead.applied).toEqual(["0001_notes.sql", "0002_more.sql"]);
    }
    await using behind = await openNotes(place.source, "notes");
    expect(behind.applied).toEqual([]);
    expect(await behind.db.selectFrom("notes").selectAll().execute()).toEqual([]);
  });

  test("that were changed after they had been applied are refused", async () => {
    await using place = await openEmptyDatabase();
    using changed = tempFolder({ "0001_notes.sql": `${NOTES}-- and more\n` });
    await using _notes = await openNotes(place.source, "notes");
    await expect(openNotes(place.source, "notes", changed.url)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      details: { reason: "MIGRATION_CHANGED" },
    });
  });
});
