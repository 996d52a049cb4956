import { openServiceDatabase } from "@hms/postgres";
import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { describe, expect, test } from "vitest";
import type { EventDatabase } from "./event-database.ts";
import { createEvent } from "./index.ts";
import { dayOf, dropParts, ensurePart, partTable, positionBefore } from "./log-parts.ts";
import { relayStatement } from "./relay-statement.ts";
import { numbered, openShop, openShopAlone, receive, type Shop } from "./testing/shop.ts";

const openEvents = (shop: Shop): Promise<EventDatabase> =>
  openServiceDatabase({
    source: shop.source,
    service: "events",
    migrations: new URL("../migrations/", import.meta.url),
  });

async function positions(events: EventDatabase): Promise<number[]> {
  const { rows } = await sql<{ position: number }>`select position::float8 as position from log order by 1`.execute(
    events.db,
  );
  return rows.map(({ position }) => position);
}

const tomorrow = () => dayOf(new Date(Date.now() + 86_400_000));
const upTo = (count: number, first = 1) => Array.from({ length: count }, (_, n) => n + first);

describe("the relay", () => {
  test("gives positions without gaps, whatever is rolled back and however slowly others commit", async () => {
    await using shop = await openShopAlone();
    await using events = await openEvents(shop);
    const publish = async (n: number) => {
      const work = shop.database.transaction(async (transaction) => {
        await shop.outbox.publish(numbered("gap", 3), { transaction });
        await sql`select pg_sleep(${(n % 5) / 200})`.execute(transaction);
        if (n % 3 === 0) throw new RangeError("rolled back");
      });
      await work.catch((error: unknown) => expect(error).toBeInstanceOf(RangeError));
    };
    for (let round = 0; round < 20; round += 1) await Promise.all(upTo(5, round * 5).map(publish));
    const committed = 3 * upTo(100, 0).filter((n) => n % 3 !== 0).length;
    await waitFor(async () => (await shop.log.position()) >= committed, { describe: `position ${committed}` });
    expect(await positions(events)).toEqual(upTo(committed));
    expect(shop.failures).toEqual([]);
  });

  test("is one of several processes, and another takes over when it ends", async () => {
    await using first = await openShopAlone();
    await waitFor(() => first.log.isRelay, { describe: "the first to lead" });
    await using second = await openShop(first.source);
    await using reader = await openShop(first.source, { relay: false });
    await using received = await receive(reader.log, { topics: ["lead"], from: "start" });
    const one = numbered("lead", 10);
    await second.outbox.publish(one);
    await received.distinct(10);
    expect([first.log.isRelay, second.log.isRelay, reader.log.isRelay]).toEqual([true, false, false]);
    await using _events = await openEvents(first);
    await first.log[Symbol.asyncDispose]();
    const two = numbered("lead", 10);
    await reader.outbox.publish(two);
    await received.distinct(20);
    await waitFor(() => second.log.isRelay, { describe: "the second to lead" });
    expect(received.ids()).toEqual([...one, ...two].map(({ id }) => id));
  });

  test("cannot write at the same time as a second one that believes to lead", async () => {
    await using shop = await openShopAlone({ relay: false });
    await using events = await openEvents(shop);
    const [day = ""] = await ensurePart(events, dayOf(new Date()));
    await shop.outbox.publish(numbered("both", 10));
    const route = { outboxes: ["shop"], day, recent: [partTable(day)] as [string], limit: 100 };
    const inside = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const first = events.transaction(async (transaction) => {
      const { rows } = await relayStatement(route).execute(transaction);
      inside.resolve();
      await release.promise;
      return rows[0];
    }, "repeatable read");
    await inside.promise;
    const second = events.transaction((transaction) => relayStatement(route).execute(transaction), "repeatable read");
    const refused = expect(second).rejects.toMatchObject({ code: "ABORTED" });
    const waiting = sql<{ n: number }>`select count(*)::int as n from pg_locks where not granted`;
    await waitFor(async () => ((await waiting.execute(shop.database.db)).rows[0]?.n ?? 0) > 0, {
      describe: "the second to wait",
    });
    release.resolve();
    expect(await first).toEqual({ taken: 10, position: 10, day });
    await refused;
    expect(await positions(events)).toEqual(upTo(10));
  });

  test("puts what was caused after its cause, also from another outbox", async () => {
    await using shop = await openShopAlone({ relay: false });
    await using other = await openShop(shop.source, { service: "aaa", relay: false });
    for (let n = 0; n < 20; n += 1) {
      await shop.outbox.publish([createEvent({ type: "cause", source: "/shop", data: { n } })]);
      await other.outbox.publish([createEvent({ type: "effect", source: "/aaa", data: { n } })]);
    }
    await using relay = await openShop(shop.source, { service: "zzz" });
    await using received = await receive(relay.log, { topics: ["cause", "effect"], from: "start" });
    await received.distinct(40);
    const expected = upTo(20, 0).flatMap((n) => [`cause ${n}`, `effect ${n}`]);
    expect(received.events.map(({ type, data }) => `${type} ${(data as { n: number }).n}`)).toEqual(expected);
  });
});

describe("the log's days", () => {
  test("follow each other without a gap or a break for readers, while events flow", async () => {
    await using shop = await openShopAlone();
    await using events = await openEvents(shop);
    await using received = await receive(shop.log, { topics: ["day"], group: "days" });
    await shop.outbox.publish(numbered("day", 100));
    await received.distinct(100);
    const days = await ensurePart(events, tomorrow());
    expect(days).toEqual([tomorrow(), dayOf(new Date())]);
    await shop.outbox.publish(numbered("day", 100));
    await received.distinct(200);
    expect(received.events.map(({ hmsposition }) => Number(hmsposition)).sort((a, b) => a - b)).toEqual(upTo(200));
    const { rows } = await sql`select day::text as day, count(*)::int as n from log group by 1 order by 1`.execute(
      events.db,
    );
    expect(rows).toEqual([
      { day: dayOf(new Date()), n: 100 },
      { day: tomorrow(), n: 100 },
    ]);
    // An event of yesterday that is published again is still known.
    const [first] = received.events;
    const { hmsposition: _, ...again } = first ?? createEvent({ type: "day", source: "/shop" });
    await shop.outbox.publish([again as typeof first & object, createEvent({ type: "day", source: "/shop" })]);
    await received.distinct(201);
    expect(await shop.log.position()).toBe(201);
  });

  test("are dropped whole; a group that had not handled them stands still and says so until it is told where to go on", async () => {
    await using shop = await openShopAlone();
    await using events = await openEvents(shop);
    const groups = (["key", "none"] as const).map((ordering) => ({
      topics: ["old.**"],
      group: `behind-${ordering}`,
      from: "start" as const,
      ordering,
    }));
    for (const options of groups) await (await receive(shop.log, options))[Symbol.asyncDispose]();
    await shop.outbox.publish(numbered("old.lost", 50));
    await waitFor(async () => (await shop.log.position()) === 50, { describe: "the old events" });
    const today = dayOf(new Date());
    await ensurePart(events, tomorrow());
    const kept = numbered("old.kept", 50);
    await shop.outbox.publish(kept);
    await waitFor(async () => (await shop.log.position()) === 100, { describe: "the new events" });
    expect(await dropParts(events, tomorrow())).toEqual([today]);
    for (const options of groups) {
      const handle = shop.log.group(options.group);
      expect(await handle.status()).toMatchObject({ behindRetention: true, lag: 100 });
      await using received = await receive(shop.log, options);
      await waitFor(() => shop.failures.length > 0, { describe: "the report" });
      expect(shop.failures.splice(0)[0]).toMatchObject({
        code: "DATA_LOSS",
        details: { reason: "BEHIND_RETENTION", metadata: { group: options.group, from: "1", to: "50" } },
      });
      expect(received.events).toEqual([]);
      await handle.replay("start");
      await received.distinct(50);
      expect(received.ids().sort()).toEqual(kept.map(({ id }) => id).sort());
      expect(await handle.status()).toMatchObject({ behindRetention: false });
      shop.failures.length = 0;
    }
  });

  test("hand what is still being tried one by one to the dead letters", async () => {
    await using shop = await openShopAlone();
    await using events = await openEvents(shop);
    const options = { topics: ["late"], group: "late", from: "start", ordering: "none" } as const;
    await shop.outbox.publish(numbered("late", 1));
    {
      await using _refusing = await shop.log.subscribe(options, (_event, delivery) => delivery.nak(60_000));
      await waitFor(async () => (await shop.log.group("late").status()).retrying === 1, { describe: "the refusal" });
    }
    await ensurePart(events, tomorrow());
    await dropParts(events, tomorrow());
    expect(await shop.log.group("late").status()).toMatchObject({ deadLetters: 1, lag: 0 });
    await using received = await receive(shop.log, options);
    await shop.log.group("late").redrive();
    await received.distinct(1);
  });

  test("are found by time", async () => {
    await using shop = await openShopAlone();
    await using events = await openEvents(shop);
    expect(await positionBefore(events, new Date())).toBe(0);
    const times: Date[] = [];
    for (let n = 1; n <= 5; n += 1) {
      times.push(new Date());
      await shop.outbox.publish(numbered("time", 10));
      await waitFor(async () => (await shop.log.position()) === n * 10, { describe: `position ${n * 10}` });
      if (n === 3) await ensurePart(events, tomorrow());
    }
    const found = await Promise.all(times.map((time) => positionBefore(events, time)));
    expect(found).toEqual([0, 10, 20, 30, 40]);
    expect(await positionBefore(events, new Date(Date.now() + 60_000))).toBe(50);
  });
});
