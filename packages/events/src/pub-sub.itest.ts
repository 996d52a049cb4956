import { setTimeout as delay } from "node:timers/promises";
import { startTestPostgres, tempInstance, waitFor } from "@hms/testkit";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type CloudEvent, createEvent } from "./index.ts";
import { numbered, openShop, openShopAlone, type Received, receive, type Shop, sortedIds } from "./testing/shop.ts";

/** The behaviours that Watermill asks of every pub/sub, told anew: groups of both orderings must show them all. */

let shop: Awaited<ReturnType<typeof openShopAlone>>;
beforeAll(async () => {
  shop = await openShopAlone();
});
afterAll(() => shop[Symbol.asyncDispose]());
afterEach(() => expect(shop.failures).toEqual([]));

let tests = 0;
/** A topic and a group that no other test uses. */
function fresh(ordering: "key" | "none") {
  tests += 1;
  return {
    topic: `test.t${tests}`,
    options: { topics: [`test.t${tests}`], group: `g${tests}`, from: "start", ordering } as const,
  };
}

/** Everything that a list of subscriptions has received. */
const allOf = (received: readonly Received[]): CloudEvent[] => received.flatMap(({ events }) => events);

describe.each(["key", "none"] as const)('a group with ordering "%s"', (ordering) => {
  test("receives everything that was published, with data and attributes as they were", async () => {
    const { topic, options } = fresh(ordering);
    const sent = numbered(topic, 100, (n) => ({ subject: `order/${n}`, partitionkey: `k${n % 7}`, testmark: `m${n}` }));
    await shop.outbox.publish(sent);
    await using received = await receive(shop.log, options);
    await received.distinct(100);
    const bare = received.events.map(({ hmsposition: _, ...event }) => event);
    const byId = (a: { id?: unknown }, b: { id?: unknown }) => String(a.id).localeCompare(String(b.id));
    expect(bare.sort(byId)).toEqual([...sent].sort(byId));
  });

  test("is shared by fifty concurrent subscribers that together receive each event once", async () => {
    const { topic, options } = fresh(ordering);
    const sent = numbered(topic, 5000, (n) => ({ partitionkey: `k${n}` }));
    await shop.outbox.publish(sent);
    await using other = await openShop(shop.source);
    const logs = Array.from({ length: 50 }, (_, n) => (n % 2 === 0 ? shop.log : other.log));
    const received = await Promise.all(logs.map((log) => receive(log, options)));
    await waitFor(() => allOf(received).length >= 5000, {
      deadlineMs: 30_000,
      describe: () => `5000 events; ${allOf(received).length} have come`,
    });
    await Promise.all(received.map((one) => one[Symbol.asyncDispose]()));
    expect(sortedIds(allOf(received))).toEqual(sortedIds(sent));
  });

  test("gets an event again that its handler refused", async () => {
    const { topic, options } = fresh(ordering);
    const sent = numbered(topic, 100);
    await shop.outbox.publish(sent);
    let refusals = 2;
    await using received = await receive(shop.log, { ...options, backoffMs: [1] }, (_event, delivery) => {
      if (refusals-- > 0) throw new Error(`not now (${delivery.attempt})`);
    });
    await received.distinct(100);
    expect(sortedIds(received.events)).toEqual(sortedIds(sent));
  });

  test("does not lose what its subscriber has not answered when it is closed", async () => {
    const { topic, options } = fresh(ordering);
    const sent = numbered(topic, 1000, (n) => ({ partitionkey: `k${n}` }));
    await shop.outbox.publish(sent);
    const seen: CloudEvent[] = [];
    while (new Set(seen.map(({ id }) => id)).size < 1000) {
      await using received = await receive(shop.log, options);
      await waitFor(() => received.events.length >= 200 || seen.length + received.events.length >= 1000, {
        describe: () => `200 more events; ${received.events.length} have come`,
        intervalMs: 1,
      });
      await received[Symbol.asyncDispose]();
      seen.push(...received.events);
    }
    expect(sortedIds(seen)).toEqual(sortedIds(sent));
  });

  test("may be joined and left by ten at once, and goes on", async () => {
    const { topic, options } = fresh(ordering);
    const ten = await Promise.all(Array.from({ length: 10 }, () => receive(shop.log, options)));
    await Promise.all(ten.map((one) => one[Symbol.asyncDispose]()));
    const sent = numbered(topic, 50);
    await shop.outbox.publish(sent);
    await using received = await receive(shop.log, options);
    await received.distinct(50);
    expect(sortedIds(received.events)).toEqual(sortedIds(sent));
  });

  test("goes on after subscribers that only refused", async () => {
    const { topic, options } = fresh(ordering);
    const sent = numbered(topic, 50);
    await shop.outbox.publish(sent);
    for (let round = 0; round < 3; round += 1) {
      let refusals = 0;
      const settings = { ...options, backoffMs: [0], maxDeliver: 1000 };
      const refusing = await shop.log.subscribe(settings, (_event, delivery) => {
        refusals += 1;
        delivery.nak();
      });
      await waitFor(() => refusals >= 100, { describe: () => `100 refusals; there were ${refusals}` });
      await refusing[Symbol.asyncDispose]();
    }
    await using received = await receive(shop.log, { ...options, maxDeliver: 1000 });
    await received.distinct(50);
    expect(sortedIds(received.events)).toEqual(sortedIds(sent));
  });

  test("receives what twenty publishers sent at once", async () => {
    const { topic, options } = fresh(ordering);
    const sent = numbered(topic, 10_000);
    const publisher = async (first: number) => {
      for (let n = first; n < sent.length; n += 20) await shop.outbox.publish([sent[n] as CloudEvent]);
    };
    await Promise.all(Array.from({ length: 20 }, (_, n) => publisher(n)));
    await using received = await receive(shop.log, { ...options, concurrency: 100 });
    await received.distinct(10_000, 30_000);
    expect(sortedIds(received.events)).toEqual(sortedIds(sent));
  });

  test("receives only its own topic", async () => {
    const one = fresh(ordering);
    const two = fresh(ordering);
    const [first, second] = [numbered(one.topic, 1), numbered(two.topic, 1)];
    await shop.outbox.publish([...first, ...second]);
    await using fromFirst = await receive(shop.log, one.options);
    await using fromSecond = await receive(shop.log, two.options);
    await Promise.all([fromFirst.distinct(1), fromSecond.distinct(1)]);
    expect([fromFirst.ids(), fromSecond.ids()]).toEqual([sortedIds(first), sortedIds(second)]);
  });

  test("ends an event's signal when it is acked, and when the subscription is closed", async () => {
    const { topic, options } = fresh(ordering);
    await shop.outbox.publish(numbered(topic, 2));
    const signals: AbortSignal[] = [];
    const release = Promise.withResolvers<void>();
    const subscription = await shop.log.subscribe({ ...options, concurrency: 1 }, async (_event, delivery) => {
      signals.push(delivery.signal);
      expect(delivery.signal.aborted).toBe(false);
      if (signals.length === 1) return delivery.ack();
      await release.promise;
    });
    await waitFor(() => signals.length === 2, { describe: "the second event" });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
    const closing = subscription[Symbol.asyncDispose]();
    expect(signals[1]?.aborted).toBe(true);
    release.resolve();
    await closing;
  });

  test("can be left by an abort signal without losing anything", async () => {
    const { topic, options } = fresh(ordering);
    const sent = numbered(topic, 20);
    await shop.outbox.publish(sent);
    const leave = new AbortController();
    const refusing = await shop.log.subscribe({ ...options, signal: leave.signal }, (_event, delivery) =>
      delivery.nak(0),
    );
    leave.abort();
    await refusing.closed;
    await using received = await receive(shop.log, { ...options, maxDeliver: 1000 });
    await received.distinct(20);
    expect(sortedIds(received.events)).toEqual(sortedIds(sent));
  });

  test("shows a new group what was published before it", async () => {
    const { topic, options } = fresh(ordering);
    const sent: CloudEvent[] = [];
    const groups: Received[] = [];
    for (let round = 1; round <= 3; round += 1) {
      const more = numbered(topic, 1);
      await shop.outbox.publish(more);
      sent.push(...more);
      groups.push(await receive(shop.log, { ...options, group: `${options.group}-${round}` }));
      for (const group of groups) await group.distinct(round);
    }
    for (const group of groups) {
      expect(sortedIds(group.events)).toEqual(sortedIds(sent));
      await group[Symbol.asyncDispose]();
    }
  });

  test("does not share its events with another group", async () => {
    const { topic, options } = fresh(ordering);
    for (const group of ["one", "two"]) {
      await (await receive(shop.log, { ...options, group: `${options.group}-${group}`, from: "new" }))[
        Symbol.asyncDispose
      ]();
    }
    const sent = numbered(topic, 50);
    await shop.outbox.publish(sent);
    for (const group of ["one", "two"]) {
      await using received = await receive(shop.log, { ...options, group: `${options.group}-${group}` });
      await received.distinct(50);
      expect(sortedIds(received.events)).toEqual(sortedIds(sent));
    }
  });
});

describe("a group that keeps order", () => {
  test("delivers each key's events in the order of publication to ten subscribers", async () => {
    const { topic, options } = fresh("key");
    const sent = numbered(topic, 1000, (n) => ({ partitionkey: `k${n % 16}` }));
    await shop.outbox.publish(sent);
    const received: CloudEvent[] = [];
    const join = () => shop.log.subscribe(options, (event) => void received.push(event));
    const ten = await Promise.all(Array.from({ length: 10 }, join));
    await waitFor(() => received.length >= 1000, {
      deadlineMs: 30_000,
      describe: () => `1000 events; ${received.length} came`,
    });
    await Promise.all(ten.map((one) => one[Symbol.asyncDispose]()));
    const ofKey = (events: readonly CloudEvent[], key: string) =>
      events.filter(({ partitionkey }) => partitionkey === key).map(({ id }) => id);
    for (let key = 0; key < 16; key += 1) expect(ofKey(received, `k${key}`)).toEqual(ofKey(sent, `k${key}`));
  });

  test("waits with the next event of a key until the one before is answered, and sends neither again", async () => {
    const { topic, options } = fresh("key");
    const [first, second] = numbered(topic, 2, () => ({ partitionkey: "one" })) as [CloudEvent, CloudEvent];
    await shop.outbox.publish([first]);
    await shop.outbox.publish([second]);
    const begun: string[] = [];
    const answer = Promise.withResolvers<void>();
    await using _subscription = await shop.log.subscribe(options, async (event) => {
      begun.push(event.id);
      if (event.id === first.id) await answer.promise;
    });
    await waitFor(() => begun.length > 0, { describe: "the first event" });
    // There is no condition to wait for: nothing must happen in this time.
    await delay(100);
    expect(begun).toEqual([first.id]);
    answer.resolve();
    await waitFor(() => begun.length > 1, { describe: "the second event" });
    await delay(50);
    expect(begun).toEqual([first.id, second.id]);
  });
});

describe.each(["key", "none"] as const)(
  'when PostgreSQL restarts under load, a group with ordering "%s"',
  (ordering) => {
    test("receives everything that a hundred publishers got acknowledged", async () => {
      await using instance = tempInstance();
      const durable = { settings: "" };
      await using first = await startTestPostgres(instance.paths, durable);
      await using place: Shop = await openShop(first.source);
      const { options } = fresh(ordering);
      await using received = await receive(place.log, { ...options, topics: ["test.**"], backoffMs: [10] });
      const acknowledged: CloudEvent[] = [];
      let isOver = false;
      const publisher = async () => {
        while (!isOver) {
          const event = createEvent({ type: "test.restart", source: "/shop", data: {} });
          await place.outbox.publish([event]);
          acknowledged.push(event);
        }
      };
      const publishers = Array.from({ length: 100 }, publisher);
      await waitFor(() => acknowledged.length > 1000, { describe: "the load" });
      await first.stop();
      await using _second = await startTestPostgres(instance.paths, durable);
      const before = acknowledged.length;
      await waitFor(() => acknowledged.length > before + 1000, { deadlineMs: 20_000, describe: "the load to go on" });
      isOver = true;
      await Promise.all(publishers);
      await received.distinct(acknowledged.length, 30_000);
      expect([...new Set(received.ids())].sort()).toEqual(sortedIds(acknowledged));
      expect(place.failures).toEqual([]);
    });
  },
);
