import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CloudEvent, createEvent, type DeadLetter, type Delivery, inboxHandler } from "./index.ts";
import { numbered, openShop, openShopAlone, receive, sortedIds } from "./testing/shop.ts";

let shop: Awaited<ReturnType<typeof openShopAlone>>;
beforeAll(async () => {
  shop = await openShopAlone();
});
afterAll(() => shop[Symbol.asyncDispose]());

let tests = 0;
function fresh(ordering: "key" | "none" = "key") {
  tests += 1;
  const options = {
    topics: [`test.g${tests}`],
    group: `group${tests}`,
    from: "start",
    ordering,
    backoffMs: [1],
  } as const;
  return { topic: `test.g${tests}`, options, handle: shop.log.group(options.group) };
}

async function lettersOf(letters: AsyncIterable<DeadLetter>): Promise<DeadLetter[]> {
  const all: DeadLetter[] = [];
  for await (const letter of letters) all.push(letter);
  return all;
}

describe.each(["key", "none"] as const)('an event of a group with ordering "%s"', (ordering) => {
  test("becomes a dead letter after its last delivery, with the last error, and the next ones come", async () => {
    const { topic, options, handle } = fresh(ordering);
    const sent = numbered(topic, 3, () => ({ partitionkey: "one" }));
    await shop.outbox.publish(sent);
    const attempts: number[] = [];
    await using received = await receive(shop.log, { ...options, maxDeliver: 3 }, (event, { attempt }) => {
      if (event.id !== sent[0]?.id) return;
      attempts.push(attempt);
      throw new RangeError(`attempt ${attempt} failed`);
    });
    await received.distinct(2);
    await waitFor(async () => (await handle.status()).deadLetters === 1, { describe: "the dead letter" });
    expect(attempts).toEqual([1, 2, 3]);
    const { hmsposition: _, ...event } = (await lettersOf(handle.deadLetters()))[0]?.event ?? {};
    expect(event).toEqual(sent[0]);
    const [letter] = await lettersOf(handle.deadLetters());
    expect(letter).toMatchObject({ attempts: 3, error: "RangeError: attempt 3 failed", redriven: false });
    await waitFor(async () => (await handle.lag()) === 0, { describe: "no lag" });
  });

  test("is sent again when redriven, and is no dead letter any more once it is handled", async () => {
    const { topic, options, handle } = fresh(ordering);
    await shop.outbox.publish(numbered(topic, 2));
    let isBroken = true;
    await using received = await receive(shop.log, { ...options, maxDeliver: 1 }, () => {
      if (isBroken) throw new Error("broken");
    });
    await waitFor(async () => (await handle.status()).deadLetters === 2, { describe: "two dead letters" });
    const [first] = await lettersOf(handle.deadLetters());
    expect(await handle.redrive([first?.id ?? ""])).toBe(1);
    await waitFor(async () => (await lettersOf(handle.deadLetters())).every(({ redriven }) => !redriven), {
      describe: "the second failure",
    });
    expect(received.events).toEqual([]);
    isBroken = false;
    expect(await handle.redrive()).toBe(2);
    await received.distinct(2);
    await waitFor(async () => (await handle.status()).deadLetters === 0, { describe: "no dead letters" });
    expect(await handle.redrive()).toBe(0);
  });

  test("is termed at once if its handler says so, and can be forgotten", async () => {
    const { topic, options, handle } = fresh(ordering);
    await shop.outbox.publish(numbered(topic, 1));
    await using _subscription = await shop.log.subscribe(options, (_event, delivery) =>
      delivery.term("makes no sense"),
    );
    await waitFor(async () => (await handle.status()).deadLetters === 1, { describe: "the dead letter" });
    const [letter] = await lettersOf(handle.deadLetters());
    expect(letter).toMatchObject({ attempts: 1, error: "makes no sense" });
    expect(await handle.discard([letter?.id ?? ""])).toBe(1);
    expect((await handle.status()).deadLetters).toBe(0);
  });

  test("waits for its back-off also across a restart of its consumer", async () => {
    const { topic, options, handle } = fresh(ordering);
    await shop.outbox.publish(numbered(topic, 1));
    {
      await using _refusing = await shop.log.subscribe(options, (_event, delivery) => delivery.nak(700));
      await waitFor(async () => (await handle.status()).retrying === 1, { describe: "the back-off to be stored" });
    }
    const began = performance.now();
    await using received = await receive(shop.log, options);
    await received.distinct(1);
    expect(performance.now() - began).toBeGreaterThan(300);
    expect(received.deliveries[0]?.attempt).toBe(2);
  });

  test("counts as failed when its handler does not answer within the ack wait", async () => {
    const { topic, options } = fresh(ordering);
    await shop.outbox.publish(numbered(topic, 1));
    const reasons: unknown[] = [];
    await using received = await receive(
      shop.log,
      { ...options, ackWaitMs: 100 },
      async (_event, { attempt, signal }) => {
        if (attempt > 1) return;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        reasons.push(signal.reason);
      },
    );
    await waitFor(() => received.deliveries.some(({ attempt }) => attempt === 2), { describe: "the second delivery" });
    expect(reasons).toEqual([expect.objectContaining({ code: "DEADLINE_EXCEEDED" })]);
  });

  test("is not delivered while the group is paused", async () => {
    const { topic, options, handle } = fresh(ordering);
    await (await receive(shop.log, options))[Symbol.asyncDispose]();
    await handle.pause();
    await using paused = await receive(shop.log, options);
    const sent = numbered(topic, 20);
    await shop.outbox.publish(sent);
    await waitFor(async () => (await handle.lag()) >= 20, { describe: "the lag to grow" });
    expect(paused.events).toEqual([]);
    await handle.resume();
    await paused.distinct(20);
    expect(sortedIds(paused.events)).toEqual(sortedIds(sent));
  });

  test("is delivered again after a replay from a position or from a time", async () => {
    const { topic, options, handle } = fresh(ordering);
    const early = numbered(topic, 5);
    await shop.outbox.publish(early);
    await using received = await receive(shop.log, options);
    await received.distinct(5);
    const { rows } = await sql<{ now: Date }>`select clock_timestamp() as now`.execute(shop.database.db);
    const late = numbered(topic, 5);
    await shop.outbox.publish(late);
    await received.distinct(10);
    const position = Number(received.events.find(({ id }) => id === early[3]?.id)?.hmsposition);
    received.events.length = 0;
    await handle.replay({ position });
    await received.distinct(7);
    expect(sortedIds(received.events)).toEqual(sortedIds([...early.slice(3), ...late]));
    await waitFor(async () => (await handle.lag()) === 0, { describe: "no lag" });
    received.events.length = 0;
    await handle.replay({ time: (rows[0] as { now: Date }).now });
    await received.distinct(5);
    expect(sortedIds(received.events)).toEqual(sortedIds(late));
    await expect(handle.replay({ position: 1_000_000 })).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
  });

  test("reaches only groups of its own environment, and those of all", async () => {
    const { topic, options } = fresh(ordering);
    await using staging = await receive(shop.log, { ...options, environment: "staging" });
    await using production = await receive(shop.log, { ...options, environment: "production" });
    await using all = await receive(shop.log, options);
    const sent = numbered(topic, 6, (n) => ({ hmsenvironment: n % 2 === 0 ? "staging" : "production" }));
    await shop.outbox.publish(sent);
    await all.distinct(6);
    await Promise.all([staging.distinct(3), production.distinct(3)]);
    expect(staging.events.map(({ hmsenvironment }) => hmsenvironment)).toEqual(["staging", "staging", "staging"]);
    expect(new Set(production.events.map(({ hmsenvironment }) => hmsenvironment))).toEqual(new Set(["production"]));
  });
});

describe("a group", () => {
  test("divides its shards among members as they come and go, and keeps every key's order", async () => {
    const { topic, options } = fresh();
    await using other = await openShop(shop.source);
    const order: string[] = [];
    const by = new Map<string, number>();
    const join = (name: string) =>
      (name === "there" ? other.log : shop.log).subscribe(options, (event) => {
        by.set(name, (by.get(name) ?? 0) + 1);
        order.push(`${event.partitionkey} ${(event.data as { n: number }).n}`);
      });
    let sent = 0;
    const publish = async (count: number) => {
      const events = Array.from({ length: count }, () => {
        const n = sent++;
        return createEvent({ type: topic, source: "/shop", partitionkey: `k${n % 32}`, data: { n } });
      });
      await shop.outbox.publish(events);
    };
    await using here = await join("here");
    await publish(200);
    await waitFor(() => order.length === 200, { describe: "the first events" });
    const there = await join("there");
    await waitFor(
      async () => {
        await publish(32);
        return (by.get("there") ?? 0) > 32;
      },
      { describe: "the second member to get its share" },
    );
    await there[Symbol.asyncDispose]();
    await publish(200);
    await waitFor(() => order.length >= sent, { describe: () => `${sent} events; ${order.length} came` });
    await here[Symbol.asyncDispose]();
    expect(order.length).toBe(sent);
    const numbersOf = (key: number) =>
      order.filter((entry) => entry.startsWith(`k${key} `)).map((entry) => Number(entry.split(" ")[1]));
    for (let key = 0; key < 32; key += 1) expect(numbersOf(key)).toEqual(numbersOf(key).toSorted((a, b) => a - b));
  });

  test("counts as lag what it has not handled, and has none when it is done", async () => {
    const { topic, options, handle } = fresh();
    const release = Promise.withResolvers<void>();
    await using received = await receive(shop.log, { ...options, from: "new", shards: 1 }, () => release.promise);
    await shop.outbox.publish(numbered(topic, 30));
    await waitFor(async () => (await handle.lag()) === 30, { describe: "a lag of 30" });
    expect(await handle.status()).toMatchObject({
      members: 1,
      ordering: "key",
      topics: [topic],
      behindRetention: false,
    });
    release.resolve();
    await received.distinct(30);
    await waitFor(async () => (await handle.lag()) === 0, { describe: "no lag" });
  });

  test("with one shard keeps the order of everything", async () => {
    const { topic, options } = fresh();
    const sent = numbered(topic, 500, (n) => ({ partitionkey: `k${n % 50}` }));
    await shop.outbox.publish(sent);
    await using received = await receive(shop.log, { ...options, shards: 1 });
    await received.distinct(500);
    expect(received.ids()).toEqual(sent.map(({ id }) => id));
  });

  test("refuses a subscriber that counts otherwise than it was made", async () => {
    const { options } = fresh();
    await using _received = await receive(shop.log, options);
    const differently = receive(shop.log, { ...options, shards: 4 });
    await expect(differently).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      details: { reason: "GROUP_DIFFERS" },
    });
  });

  test("tells every problem of a subscription at once", async () => {
    const wrong = shop.log.subscribe({ topics: ["a.**.b"], group: "-", shards: 0, backoffMs: [] }, () => {});
    await expect(wrong).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: {
        fieldViolations: ["shards", "topics", "group", "backoffMs"].map((field) => expect.objectContaining({ field })),
      },
    });
    await expect(shop.log.group("nobody").lag()).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("handles each event once with an inbox, however often it is delivered", async () => {
    const { topic, options } = fresh();
    const sent = numbered(topic, 20);
    await shop.outbox.publish(sent);
    const work = inboxHandler(
      { database: shop.database, group: options.group },
      async ({ data }, transaction) =>
        void (await transaction
          .insertInto("orders")
          .values({ id: (data as { n: number }).n })
          .execute()),
    );
    const seen: [string, number][] = [];
    const handler = async (event: CloudEvent, delivery: Delivery) => {
      await work(event, delivery);
      seen.push([event.id, delivery.attempt]);
      // After the transaction: a second insert of the same order would fail.
      if (delivery.attempt === 1) throw new Error("lost the answer");
    };
    await using _subscription = await shop.log.subscribe(options, handler);
    await waitFor(() => seen.length === 40, { describe: () => `40 deliveries; ${seen.length} came` });
    expect(await shop.database.db.selectFrom("orders").selectAll().execute()).toHaveLength(20);
    expect((await shop.log.group(options.group).status()).deadLetters).toBe(0);
  });
});

describe("a subscription without a group", () => {
  test("gets everything from its beginning on, in order, beside others", async () => {
    const { topic } = fresh();
    const before = numbered(topic, 5);
    await shop.outbox.publish(before);
    await using old = await receive(shop.log, { topics: [topic], from: "start" });
    await old.distinct(5);
    await using recent = await receive(shop.log, { topics: [topic] });
    const after = numbered(topic, 300);
    await shop.outbox.publish(after);
    await Promise.all([old.distinct(305), recent.distinct(300)]);
    expect(recent.ids()).toEqual(after.map(({ id }) => id));
    expect(old.ids()).toEqual([...before, ...after].map(({ id }) => id));
  });

  test("reports what its handler fails at, and goes on", async () => {
    const { topic } = fresh();
    await using received = await receive(shop.log, { topics: [topic] }, ({ data }) => {
      if ((data as { n: number }).n === 0) throw new Error("no zeros");
    });
    await shop.outbox.publish(numbered(topic, 2));
    await received.distinct(1);
    expect(shop.failures.splice(0)).toEqual([expect.objectContaining({ code: "ABORTED" })]);
  });

  test.each([
    ["test.*.done", ["test.x.done", "test.y.done"]],
    ["test.x.**", ["test.x.done", "test.x.a.b"]],
    ["*.*.done", ["test.x.done", "test.y.done"]],
  ])("to %s gets what matches", async (pattern, expected) => {
    await using received = await receive(shop.log, { topics: [pattern] });
    const types = ["test.x", "test.x.done", "test.x.a.b", "test.y.done", "test.done"];
    const own = types.map((type) => createEvent({ type, source: "/shop" }));
    for (const event of own) await shop.outbox.publish([event]);
    const end = createEvent({ type: "test.x.done", source: "/shop" });
    await shop.outbox.publish([end]);
    const last = own.findLast(({ type }) => expected.includes(type));
    await waitFor(() => received.ids().includes(last?.id ?? ""), { describe: "the last event" });
    // What was published just before the subscription, by the case before, may come too.
    const ownTypes = received.events.filter(({ id }) => own.some((event) => event.id === id)).map(({ type }) => type);
    expect(ownTypes.sort()).toEqual([...expected].sort());
  });
});

test("shards that change hands while they are being read lose nothing", async () => {
  const { topic, options } = fresh();
  const sent = numbered(topic, 3000, (n) => ({ partitionkey: `k${n}` }));
  await shop.outbox.publish(sent);
  const seen: CloudEvent[] = [];
  const join = () => shop.log.subscribe({ ...options, shards: 32 }, (event) => void seen.push(event));
  const members = [await join()];
  // Each that joins takes shards from those that are reading, each that leaves gives some back.
  for (let n = 0; n < 12; n += 1) {
    members.push(await join());
    if (n % 3 === 2) await members.shift()?.[Symbol.asyncDispose]();
  }
  await waitFor(() => new Set(seen.map(({ id }) => id)).size === 3000, {
    describe: () => `3000 events; ${new Set(seen.map(({ id }) => id)).size} came`,
  });
  await Promise.all(members.map((member) => member[Symbol.asyncDispose]()));
  expect(sortedIds(seen)).toEqual(sortedIds(sent));
});
