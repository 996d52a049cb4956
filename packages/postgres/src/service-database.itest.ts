import { openEmptyDatabase, openTestDatabase, type TempFolder, tempFolder, waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openConnection } from "./admin-connection.ts";
import { binaryArray, type ConnectionSource, openServiceDatabase } from "./index.ts";

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

describe("a service's database", () => {
  test("is its own schema and role: another service can neither read it nor write beside it", async () => {
    await using place = await openEmptyDatabase();
    await using notes = await openNotes(place.source, "notes");
    await using other = await openNotes(place.source, "other");
    expect(notes.isolation).toEqual({ kind: "own-role", role: "hms_notes" });
    await notes.db.insertInto("notes").values({ id: 1, text: "mine" }).execute();
    expect(await other.db.selectFrom("notes").selectAll().execute()).toEqual([]);
    const denied = { code: "PERMISSION_DENIED" };
    await expect(sql`select * from notes.notes`.execute(other.db)).rejects.toMatchObject(denied);
    await expect(sql`create table notes.intruder (id int)`.execute(other.db)).rejects.toMatchObject(denied);
    await expect(sql`create table public.intruder (id int)`.execute(other.db)).rejects.toMatchObject(denied);
    await expect(sql`create schema intruder`.execute(other.db)).rejects.toMatchObject(denied);
    await expect(sql`set role hms_notes`.execute(other.db)).rejects.toMatchObject(denied);
    await expect(sql`copy notes to program 'true'`.execute(other.db)).rejects.toMatchObject(denied);
  });

  test("cannot be entered through another database or without the password", async () => {
    await using place = await openEmptyDatabase();
    await using _notes = await openNotes(place.source);
    const password = place.source.passwordOf("hms_notes");
    await openConnection({ ...place.source.as("hms_notes"), password }).then((open) => open[Symbol.asyncDispose]());
    const wrong = openConnection({ ...place.source.as("hms_notes"), password: "guessed" });
    await expect(wrong).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  test("takes many rows as arrays in binary form, as they are", async () => {
    await using test = await openTestDatabase<Schema>({ service: "notes", migrations: folder.url });
    const texts = ["", "ä\u{1f600}\ud800", 'a,"b\\{}NULL', "x".repeat(70_000)];
    const [bytes, numbers, small] = [texts.map((text) => Buffer.from(text)), [0, -1, 2 ** 53, 7], [-1, 0, 32_767, 1]];
    const rowsOf = async (count: number) => {
      const { rows } = await sql`select * from unnest(${binaryArray.text(texts.slice(0, count))}::text[],
        ${binaryArray.bytea(bytes.slice(0, count))}::bytea[], ${binaryArray.int8(numbers.slice(0, count))}::bigint[],
        ${binaryArray.int2(small.slice(0, count))}::smallint[]) as row (a, b, c, d)`.execute(test.database.db);
      return rows;
    };
    expect(await rowsOf(0)).toEqual([]);
    expect(await rowsOf(4)).toEqual(
      texts.map((text, n) => ({ a: text.toWellFormed(), b: bytes[n], c: String(numbers[n]), d: small[n] })),
    );
  });

  test("reports what goes wrong as one of our errors", async () => {
    await using test = await openTestDatabase<Schema>({ service: "notes", migrations: folder.url });
    const { db } = test.database;
    await db.insertInto("notes").values({ id: 1, text: "a" }).execute();
    await expect(db.insertInto("notes").values({ id: 1, text: "b" }).execute()).rejects.toMatchObject({
      code: "ALREADY_EXISTS",
      details: { metadata: { constraint: "notes_pkey" } },
    });
    await using hasty = await openServiceDatabase<Schema>({
      source: test.source,
      service: "notes",
      migrations: folder.url,
      statementTimeoutMs: 50,
    });
    await expect(sql`select pg_sleep(5)`.execute(hasty.db)).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  test("rolls a failed transaction back and commits a good one", async () => {
    await using test = await openTestDatabase<Schema>({ service: "notes", migrations: folder.url });
    const { database } = test;
    const failing = database.transaction(async (transaction) => {
      await transaction.insertInto("notes").values({ id: 1, text: "a" }).execute();
      throw new RangeError("changed my mind");
    });
    await expect(failing).rejects.toThrow(RangeError);
    await database.transaction((transaction) => transaction.insertInto("notes").values({ id: 2, text: "b" }).execute());
    expect(await database.db.selectFrom("notes").select("id").execute()).toEqual([{ id: 2 }]);
  });

  test("of two conflicting serializable transactions aborts one, which may be repeated", async () => {
    await using test = await openTestDatabase<Schema>({ service: "notes", migrations: folder.url });
    const { database } = test;
    const both = Promise.withResolvers<void>();
    let readers = 0;
    const run = (id: number) =>
      database.transaction(async (transaction) => {
        await transaction.selectFrom("notes").selectAll().execute();
        readers += 1;
        if (readers === 2) both.resolve();
        await both.promise;
        await transaction
          .insertInto("notes")
          .values({ id, text: String(id) })
          .execute();
      }, "serializable");
    const outcomes = await Promise.allSettled([run(1), run(2)]);
    const failed = outcomes.filter((outcome) => outcome.status === "rejected");
    expect(failed).toEqual([expect.objectContaining({ reason: expect.objectContaining({ code: "ABORTED" }) })]);
  });

  test("keeps at most five connections and says how many are in use", async () => {
    await using test = await openTestDatabase<Schema>({ service: "notes", migrations: folder.url });
    const { database } = test;
    await Promise.all(Array.from({ length: 20 }, () => sql`select 1`.execute(database.db)));
    expect(database.connections).toEqual({ total: 5, inUse: 0 });
  });

  test("lets one process of the service at a time hold a lock, and the next go on after it", async () => {
    await using test = await openTestDatabase<Schema>({ service: "notes", migrations: folder.url });
    await using second = await openNotes(test.source);
    const order: string[] = [];
    const held = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const first = test.database.withAdvisoryLock("sweep", async () => {
      held.resolve();
      await release.promise;
      order.push("first");
    });
    await held.promise;
    const hasty = second.withAdvisoryLock("sweep", async () => order.push("hasty"), { deadlineMs: 50 });
    await expect(hasty).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", details: { reason: "LOCKED" } });
    await second.withAdvisoryLock("another", async () => order.push("another"));
    const patient = second.withAdvisoryLock("sweep", async () => order.push("patient"));
    release.resolve();
    await Promise.all([first, patient]);
    expect(order).toEqual(["another", "first", "patient"]);
  });

  test("passes hints between processes of the service", async () => {
    await using test = await openTestDatabase<Schema>({ service: "notes", migrations: folder.url });
    await using second = await openNotes(test.source);
    const heard: (string | undefined)[] = [];
    const [one, two] = await Promise.all([
      test.database.listen("changed", (payload) => heard.push(payload)),
      test.database.listen("other", (payload) => heard.push(`other ${payload}`)),
    ]);
    await using _one = one;
    {
      await using _two = two;
      await second.notify("changed", "1");
      await second.notify("other");
      await waitFor(() => heard.length === 2, { describe: "both hints" });
    }
    await second.notify("other");
    await second.notify("changed", "2");
    await waitFor(() => heard.length === 3, { describe: "the third hint" });
    expect(heard).toEqual(["1", "other ", "2"]);
  });
});
