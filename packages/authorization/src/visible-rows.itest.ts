import { everyResource, type MethodEntry, type ResourceFilter, type ResourceRow } from "@hms/kernel";
import { openTestDatabase, tempFolder } from "@hms/testkit";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAccessPolicy, visibleRows } from "./index.ts";
import { RandomPolicies, READ, ROWS } from "./testing/random-policies.ts";

interface ThingRow {
  number: number;
  name: string;
  environment: string | null;
  owner: string | null;
  tags: string[] | null;
  groups: string[] | null;
}

let own: Awaited<ReturnType<typeof openTestDatabase<{ thing: ThingRow }>>>;

beforeAll(async () => {
  using migrations = tempFolder({
    "0001_thing.sql": `create table thing (number integer primary key, name text not null, environment text, owner text,
      tags text[], groups text[])`,
  });
  own = await openTestDatabase({ service: "things", migrations: migrations.url });
  const { db } = own.database;
  const rows = ROWS.map(
    ({ name, environment = null, facts: { owner = null, tags = null, groups = null } = {} }, number) => ({
      number,
      name,
      environment,
      owner,
      tags: tags && [...tags],
      groups: groups && [...groups],
    }),
  );
  await db.insertInto("thing").values(rows).execute();
});
afterAll(() => own[Symbol.asyncDispose]());

const thingOf = ({ number }: ThingRow): ResourceRow => ROWS[number] as ResourceRow;
const columns = {
  name: sql.ref("name"),
  environment: sql.ref("environment"),
  owner: sql.ref("owner"),
  tags: sql.ref("tags"),
  groups: sql.ref("groups"),
};
const things = { columns, placed: "some", thingOf } as const;
const method = { name: "test", rule: { permission: READ } } as unknown as MethodEntry;

/** Every page of the rows that a filter lets through, and how many rows were read for them. */
async function pagesOf(filter: ResourceFilter, size: number) {
  const pages: number[][] = [];
  let read = 0;
  const visible = visibleRows<ThingRow>(filter, things);
  for (let last: ThingRow | undefined; ; ) {
    const from = last?.number ?? -1;
    const page = await visible.page({
      limit: size,
      throwIfEnded() {},
      async read({ after, limit, where }) {
        const found = await own.database.db
          .selectFrom("thing")
          .selectAll()
          .where("number", ">", after?.number ?? from)
          .where(where)
          .orderBy("number")
          .limit(limit)
          .execute();
        read += found.length;
        return found;
      },
    });
    if (page.length === 0) break;
    pages.push(page.map(({ number }) => number));
    last = page.at(-1);
  }
  return { pages, read };
}

describe("a list's pages", () => {
  test("have what a decision about each row allows, by whatever policies, and all but the last are full", async () => {
    const random = new RandomPolicies(11);
    let [read, shown, all] = [0, 0, 0];
    for (let round = 0; round < 30; round++) {
      const filter = createAccessPolicy(random.book()).filter?.({
        principal: random.principal(),
        permission: READ,
        method,
        transport: random.transport(),
      });
      const size = 2 + 4 * (round % 5);
      const expected = ROWS.flatMap((row, number) => (filter?.allows(row) ? [number] : []));
      const found = await pagesOf(filter ?? everyResource, size);
      expect(found.pages.flat()).toEqual(expected);
      for (const page of found.pages.slice(0, -1)) expect(page).toHaveLength(size);
      read += found.read;
      shown += expected.length;
      all += ROWS.length;
    }
    // The database leaves out most of what may not be shown: otherwise every list would read whole tables.
    expect(shown).toBeLessThan(all / 2);
    expect(read - shown).toBeLessThan((all - shown) / 2);
  });

  test("read nothing for whom everything is forbidden", async () => {
    const nobody: ResourceFilter = { where: { any: [] }, whereUnplaced: { any: [] }, allows: () => true };
    expect(await pagesOf(nobody, 5)).toEqual({ pages: [], read: 0 });
  });
});
