import { type ConnectionSource, openServiceDatabase } from "@hms/postgres";
import { openEmptyDatabase, tempFolder, waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CloudEvent, createEvent, openEventLog, openOutbox } from "./index.ts";
import { numbered, openShop, openShopAlone, receive, sortedIds } from "./testing/shop.ts";

let shop: Awaited<ReturnType<typeof openShopAlone>>;
beforeAll(async () => {
  shop = await openShopAlone();
});
afterAll(() => shop[Symbol.asyncDispose]());

describe("an event published in a transaction", () => {
  test("happens with it: not before it is committed, and never if it is rolled back", async () => {
    await using received = await receive(shop.log, { topics: ["tx.**"] });
    const [undone, done, marker] = ["tx.undone", "tx.done", "tx.marker"].map((type) =>
      createEvent({ type, source: "/shop" }),
    ) as [CloudEvent, CloudEvent, CloudEvent];
    const failing = shop.database.transaction(async (transaction) => {
      await transaction.insertInto("orders").values({ id: 1 }).execute();
      await shop.outbox.publish([undone], { transaction });
      throw new RangeError("changed my mind");
    });
    await expect(failing).rejects.toThrow(RangeError);
    await shop.database.transaction(async (transaction) => {
      await transaction.insertInto("orders").values({ id: 2 }).execute();
      await shop.outbox.publish([done], { transaction });
      await shop.outbox.publish([marker]);
      await received.distinct(1);
    });
    await received.distinct(2);
    expect(received.ids()).toEqual([marker.id, done.id]);
  });

  test("reaches a handler soon after the commit, without waiting for the next look", async () => {
    await using received = await receive(shop.log, { topics: ["soon"] });
    const fastest = async () => {
      const began = performance.now();
      const before = received.events.length;
      await shop.database.transaction((transaction) =>
        shop.outbox.publish([createEvent({ type: "soon", source: "/shop" })], { transaction }),
      );
      await waitFor(() => received.events.length > before, { describe: "the event", intervalMs: 1 });
      return performance.now() - began;
    };
    const times: number[] = [];
    for (let n = 0; n < 20; n += 1) times.push(await fastest());
    // A look comes every 250 ms; twenty in a row would take two seconds and more.
    expect(Math.min(...times)).toBeLessThan(100);
  });

  test("reaches the log also through a slow transaction, which holds up nobody else", async () => {
    await using received = await receive(shop.log, { topics: ["slow.**"] });
    const slow = createEvent({ type: "slow.one", source: "/shop" });
    const quick = numbered("slow.others", 50);
    await shop.database.transaction(async (transaction) => {
      await shop.outbox.publish([slow], { transaction });
      for (const event of quick) await shop.outbox.publish([event]);
      await received.distinct(50);
    });
    await received.distinct(51);
    expect(received.ids()).toEqual([...quick, slow].map(({ id }) => id));
  });
});

describe("publishing", () => {
  test("the same source and id again adds nothing, in one batch and later", async () => {
    await using received = await receive(shop.log, { topics: ["again"] });
    const event = createEvent({ type: "again", source: "/shop", data: { n: 1 } });
    await shop.outbox.publish([event, { ...event, data: { n: 2 } }]);
    await received.distinct(1);
    await shop.outbox.publish([event]);
    const end = createEvent({ type: "again", source: "/shop" });
    const elsewhere = { ...event, source: "/elsewhere" };
    await shop.outbox.publish([elsewhere, end]);
    await received.distinct(2);
    await waitFor(() => received.ids().includes(end.id), { describe: "the last event" });
    expect(received.events.map(({ id, source }) => `${source} ${id}`)).toEqual([
      `/shop ${event.id}`,
      `/elsewhere ${event.id}`,
      `/shop ${end.id}`,
    ]);
  });

  test("keeps data of every kind as it was", async () => {
    await using received = await receive(shop.log, { topics: ["kinds"] });
    const kinds = [
      { data: { deep: [1, "two", null, { ünï: "\u2028 '\"\\" }] } },
      { data: "a JSON string" },
      { data: [] },
      { data: false },
      {},
      { data: 'plain, "quoted", {braces}, \\ and NULL', datacontenttype: "text/plain; charset=utf-8" },
      { data: new Uint8Array([0, 1, 254, 255]), datacontenttype: "application/octet-stream" },
      { data: new Uint8Array(), datacontenttype: "application/protobuf" },
      { data: { big: "x".repeat(200_000) }, datacontenttype: "application/cloudevents+json" },
      { subject: "NULL", partitionkey: 'a,"b"\\{}', extint: -7, extbool: true, traceparent: "00-aa-bb-01" },
    ];
    const sent = kinds.map((kind) => createEvent({ type: "kinds", source: "/shop", ...kind }));
    await shop.outbox.publish(sent);
    await received.distinct(sent.length);
    const plain = received.events.map(({ hmsposition: _, data, ...event }) => ({
      ...event,
      ...(data === undefined ? {} : { data: data instanceof Uint8Array ? new Uint8Array(data) : data }),
    }));
    expect(plain).toEqual(sent);
  });

  test("tells every problem of every event and writes none", async () => {
    const good = createEvent({ type: "problems.good", source: "/shop" });
    const bad = [
      good,
      { ...good, type: "no topic!", time: "yesterday" },
      { ...good, hmsposition: "3", data: new Uint8Array(1) },
      { ...good, data: "x".repeat(300_000) },
      { ...good, datacontenttype: "image/png", data: { a: 1 } },
    ];
    await expect(shop.outbox.publish(bad)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: {
        fieldViolations: ["[1].time", "[1].type", "[2].data", "[2].hmsposition", "[3].data", "[4].data"].map((field) =>
          expect.objectContaining({ field }),
        ),
      },
    });
    await using received = await receive(shop.log, { topics: ["problems.**"], from: "start" });
    await shop.outbox.publish([good]);
    await received.distinct(1);
    expect(received.ids()).toEqual([good.id]);
  });

  test("from many callers at once keeps the order of each", async () => {
    await using received = await receive(shop.log, { topics: ["callers"] });
    const callers = Array.from({ length: 20 }, (_, n) => numbered("callers", 50, () => ({ subject: `caller ${n}` })));
    await Promise.all(callers.flatMap((events) => events.map((event) => shop.outbox.publish([event]))));
    await received.distinct(1000);
    for (const events of callers) {
      const own = received.events.filter(({ subject }) => subject === events[0]?.subject);
      expect(own.map(({ id }) => id)).toEqual(events.map(({ id }) => id));
    }
  });
});

async function openPlain(source: ConnectionSource, service: string, statements: string) {
  using folder = tempFolder({ "0001_it.sql": statements });
  return await openServiceDatabase({ source, service, migrations: folder.url });
}

describe("an outbox", () => {
  test("is each service's own, and the log is out of the reach of all of them", async () => {
    await using other = await openShop(shop.source, { service: "other" });
    await using received = await receive(shop.log, { topics: ["own.**"] });
    const events = [
      createEvent({ type: "own.shop", source: "/shop" }),
      createEvent({ type: "own.other", source: "/other" }),
    ];
    await Promise.all([shop.outbox.publish(events.slice(0, 1)), other.outbox.publish(events.slice(1))]);
    await received.distinct(2);
    expect(sortedIds(received.events)).toEqual(sortedIds(events));
    const denied = { code: "PERMISSION_DENIED" };
    for (const statement of [
      "select * from shop.outbox",
      "select * from events.log",
      "update events.head set position = 0",
    ]) {
      await expect(sql.raw(statement).execute(other.database.db)).rejects.toMatchObject(denied);
    }
  });

  test("that is not a plain table of the right shape is not read", async () => {
    await using place = await openEmptyDatabase();
    const failures: unknown[] = [];
    await using log = await openEventLog({ source: place.source, onFailure: (failure) => failures.push(failure) });
    const shape =
      "seq bigint, event_id text, source text, environment text, topic text, partition_key text, slot smallint, attributes json, data bytea, created_at timestamptz";
    const intruders = {
      viewer: `create table t (${shape}); create view outbox as select * from t; comment on view outbox is 'hms.events.outbox.1';`,
      trigger: `create table outbox (${shape}); comment on table outbox is 'hms.events.outbox.1';
        create function f() returns trigger language plpgsql as $$ begin return old; end $$;
        create trigger t before delete on outbox for each row execute function f();`,
      policy: `create table outbox (${shape}); comment on table outbox is 'hms.events.outbox.1';
        alter table outbox enable row level security;`,
      shapeless: "create table outbox (seq bigint); comment on table outbox is 'hms.events.outbox.1';",
    };
    for (const [service, statements] of Object.entries(intruders)) {
      await using database = await openPlain(place.source, service, statements);
      const grant = `grant usage on schema ${service} to ${log.role}; grant select, delete on outbox to ${log.role}`;
      if (database.isolation.role !== log.role) await sql.raw(grant).execute(database.db);
      if (service === "shapeless") continue;
      const row = "insert into outbox values (1, 'i', '/i', '', 'intruder', null, 0, '{}', null, now())";
      await sql
        .raw(row)
        .execute(database.db)
        .catch(() => {});
    }
    await using shopHere = await openShop(place.source);
    await using received = await receive(shopHere.log, { topics: ["**"], from: "start" });
    await shopHere.outbox.publish([createEvent({ type: "honest", source: "/shop" })]);
    await received.distinct(1);
    expect(received.events.map(({ type }) => type)).toEqual(["honest"]);
    expect(failures).toEqual([]);
  });

  test("is missed with a word about what to do", async () => {
    await using database = await openPlain(shop.source, "bare", "create table t (id int);");
    await expect(openOutbox({ log: shop.log, database })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("outboxTables"),
    });
  });
});
