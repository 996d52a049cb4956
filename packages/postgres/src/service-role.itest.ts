import { randomBytes } from "node:crypto";
import { openEmptyDatabase, type TempFolder, tempFolder, tempInstance } from "@hms/testkit";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openConnection } from "./admin-connection.ts";
import { type ConnectionSource, connectionSource, openAdmin, openServiceDatabase, rotateDatabaseKey } from "./index.ts";

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

/** An empty database of an installation with a key of its own: others' roles keep their passwords. */
async function ownKey() {
  const stack = new AsyncDisposableStack();
  const { source } = stack.use(await openEmptyDatabase());
  const { paths } = stack.use(tempInstance());
  const { passwordOf } = connectionSource(paths);
  const own: ConnectionSource = { ...source, passwordOf, keyOfUrl: false };
  return { paths, source: own, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe("the password of a service's role", () => {
  test("is replaced while processes run: they keep their connections and take the new one for the next", async () => {
    await using place = await ownKey();
    await using notes = await openNotes(place.source, "rotated");
    await sql`select 1`.execute(notes.db);
    const before = place.source.passwordOf("hms_rotated");
    const withOld = () => openConnection({ ...place.source.as("hms_rotated"), password: before });
    await using _good = await withOld();
    expect(await rotateDatabaseKey(place.paths, place.source)).toEqual(["hms_rotated"]);
    expect(place.source.passwordOf("hms_rotated")).not.toBe(before);
    // At once, not when the service next connects.
    await expect(withOld()).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    const all = Promise.withResolvers<void>();
    let open = 0;
    const takeConnection = () =>
      notes.transaction(async (transaction) => {
        await sql`select 1`.execute(transaction);
        open += 1;
        if (open === 5) all.resolve();
        await all.promise;
      });
    await Promise.all(Array.from({ length: 5 }, takeConnection));
    expect(notes.connections.total).toBe(5);
  });

  test("loses no query of two processes when it is replaced again and again, whoever connects in the middle", async () => {
    await using place = await ownKey();
    await using first = await openNotes(place.source, "rotated");
    await using second = await openNotes(place.source, "rotated");
    let isDone = false;
    let connected = 0;
    const ask = async (from: typeof first) => {
      while (!isDone) {
        await using fresh = await openNotes(place.source, "rotated");
        const asked = [from, fresh].map(({ db }) => sql`select pg_sleep(0.01)`.execute(db));
        await Promise.all(asked);
        connected += 1;
      }
    };
    const asking = Promise.all([ask(first), ask(second)]);
    asking.catch(() => {});
    const seen = new Set<string>();
    for (let round = 0; round < 8; round += 1) {
      await rotateDatabaseKey(place.paths, place.source);
      seen.add(place.source.passwordOf("hms_rotated"));
    }
    isDone = true;
    await asking;
    expect([seen.size, connected > 2]).toEqual([8, true]);
  });

  test("is DATABASE_URL's own where that has one, and is not replaced beside it", async () => {
    await using instance = tempInstance();
    const source = connectionSource(instance.paths, "postgres://hms:secret@db.invalid/hms");
    await expect(rotateDatabaseKey(instance.paths, source)).rejects.toThrow(/ALTER ROLE/);
  });
});

describe("a database of somebody else (DATABASE_URL)", () => {
  async function asRole(place: { source: ConnectionSource; name: string }, rights: string) {
    const role = `guest_${randomBytes(4).toString("hex")}`;
    await using admin = await openAdmin(place.source);
    await admin.query(`CREATE ROLE ${role} LOGIN PASSWORD 'pass' ${rights}`);
    await admin.query(`GRANT CREATE, CONNECT ON DATABASE ${place.name} TO ${role} WITH GRANT OPTION`);
    const { host, port } = place.source.as(role);
    const url = `postgres://${role}:pass@/${place.name}?host=${encodeURIComponent(host ?? "")}&port=${port}`;
    const dispose = async () => {
      await using again = await openAdmin(place.source);
      // First what the guest granted: nobody else can take that back.
      await again.query(`REVOKE ALL ON DATABASE ${place.name} FROM ${role} CASCADE`);
      await again.query("DROP SCHEMA IF EXISTS guests CASCADE");
      await again.query("DROP ROLE IF EXISTS hms_guests");
      await again.query(`DROP OWNED BY ${role}`);
      await again.query(`DROP ROLE ${role}`);
    };
    return { role, url, [Symbol.asyncDispose]: dispose };
  }

  test("gives every service its role if its own may create roles, superuser or not", async () => {
    await using place = await openEmptyDatabase();
    await using guest = await asRole(place, "CREATEROLE");
    await using instance = tempInstance();
    const source = connectionSource(instance.paths, guest.url);
    for (const _start of ["first", "second"]) {
      await using guests = await openNotes(source, "guests");
      expect(guests.isolation).toEqual({ kind: "own-role", role: "hms_guests" });
      const [row] = (await sql`select current_user as role, current_schema as schema`.execute(guests.db)).rows;
      expect(row).toEqual({ role: "hms_guests", schema: "guests" });
    }
  });

  test("is shared by all services under one role if that may not create others, and says so", async () => {
    await using place = await openEmptyDatabase();
    await using guest = await asRole(place, "NOCREATEROLE");
    await using instance = tempInstance();
    const source = connectionSource(instance.paths, guest.url);
    for (const _start of ["first", "second"]) {
      await using guests = await openNotes(source, "guests");
      expect(guests.isolation).toMatchObject({ kind: "shared-role", role: guest.role });
      expect(guests.isolation).toMatchObject({
        reason: expect.stringContaining(`ALTER ROLE ${guest.role} CREATEROLE`),
      });
      expect(await guests.db.selectFrom("notes").selectAll().execute()).toEqual([]);
    }
  });
});
