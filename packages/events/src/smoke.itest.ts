import { openEmptyDatabase, waitFor, tempFolder } from "@hms/testkit";
import { openServiceDatabase } from "@hms/postgres";
import { expect, test } from "vitest";
import { createEvent, openEventLog, openOutbox, outboxTables } from "./index.ts";

test("smoke", async () => {
  using folder = tempFolder({ "0001_x.sql": "create table x (id int primary key);" });
  await using place = await openEmptyDatabase();
  const failures: unknown[] = [];
  await using log = await openEventLog({ source: place.source, onFailure: (f) => { failures.push(f); console.log(f, f.cause); } });
  await using database = await openServiceDatabase<{ x: { id: number } }>({ source: place.source, service: "shop", migrations: folder.url, components: [outboxTables] });
  await using outbox = await openOutbox({ log, database });
  const seen: string[] = [];
  for (const ordering of ["key", "none"] as const) {
    await log.subscribe({ topics: ["a.**"], group: ordering, ordering }, (event, delivery) => void seen.push(`${ordering} ${delivery.position} ${event.type} ${JSON.stringify(event.data)}`));
  }
  await log.subscribe({ topics: ["a.*"] }, (event, delivery) => void seen.push(`eph ${delivery.position} ${event.type} ${JSON.stringify(event.data)}`));
  const t = performance.now();
  await outbox.publish([createEvent({ type: "a.b", source: "/shop", data: { n: 1 } }), createEvent({ type: "a.b.c", source: "/shop", data: { n: 2 } })]);
  console.log("published", performance.now() - t);
  await database.transaction(async (transaction) => {
    await transaction.insertInto("x").values({ id: 1 }).execute();
    await outbox.publish([createEvent({ type: "a.d", source: "/shop", data: { n: 3 } })], { transaction });
  });
  await waitFor(() => seen.length === 8, { describe: () => seen.join("\n") });
  console.log(performance.now() - t, seen);
  expect(await log.group("key").status()).toMatchObject({ deadLetters: 0 });
  expect(failures).toEqual([]);
});
