import { machineSlowness, openDeafSource, waitFor } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { numbered, openShop, openShopAlone, receive } from "./testing/shop.ts";

/** What the relay waits for at most, and then the reader. */
const RELAY_LOOKS_MS = 250;
const READER_LOOKS_MS = 250;
const LEASE_MS = 3000;
/** What an idle machine needs for the way from table to handler, and more. */
const WAY_MS = 250;

describe("notifications that get lost", () => {
  test("cost a process that publishes and one that reads half a second and no event, whoever is the relay", async () => {
    await using relay = await openShopAlone();
    await using deaf = await openDeafSource(relay.source);
    // The relay hears nothing of those who publish through another process, readers nothing of the relay.
    await relay.log[Symbol.asyncDispose]();
    await using lead = await openShop(deaf.source);
    await using reader = await openShop(deaf.source, { relay: false });
    await using publisher = await openShop(relay.source, { relay: false });
    await using alone = await receive(reader.log, { topics: ["late"], from: "start" });
    await using grouped = await receive(reader.log, { topics: ["late"], from: "start", group: "billing" });
    await publisher.outbox.publish(numbered("late", 1));
    await Promise.all([alone.distinct(1), grouped.distinct(1)]);
    const tookMs: number[] = [];
    for (let round = 2; round <= 5; round += 1) {
      const began = performance.now();
      await publisher.outbox.publish(numbered("late", 1));
      await Promise.all([alone.distinct(round), grouped.distinct(round)]);
      tookMs.push(performance.now() - began);
    }
    const boundMs = RELAY_LOOKS_MS + READER_LOOKS_MS + WAY_MS * (await machineSlowness());
    expect(Math.max(...tookMs)).toBeLessThan(boundMs);
    await waitFor(() => deaf.lost > 4, { describe: "notifications to get lost" });
    expect([lead.log.isRelay, ...lead.failures, ...reader.failures]).toEqual([true]);
  });

  test("hide a new outbox from the relay for two seconds, and what a group is told for a third of its lease, at most", async () => {
    await using relay = await openShopAlone({ relay: false });
    await using deaf = await openDeafSource(relay.source);
    await using lead = await openShop(deaf.source);
    await using received = await receive(lead.log, {
      topics: ["new.*"],
      from: "start",
      group: "billing",
      leaseMs: LEASE_MS,
    });
    await lead.outbox.publish(numbered("new.first", 1));
    await received.distinct(1);
    await using bakery = await openShop(relay.source, { relay: false, service: "bakery" });
    let began = performance.now();
    await bakery.outbox.publish(numbered("new.bread", 1));
    await received.distinct(2);
    const outboxMs = performance.now() - began;
    // Told from another process, as an operator does.
    await relay.log.group("billing").replay("start");
    began = performance.now();
    await waitFor(() => received.deliveries.length >= 4, { describe: "what is replayed", intervalMs: 5 });
    const replayMs = performance.now() - began;
    const slowness = await machineSlowness();
    expect(outboxMs).toBeLessThan(2000 + RELAY_LOOKS_MS + WAY_MS * slowness);
    expect(replayMs).toBeLessThan(LEASE_MS / 3 + WAY_MS * slowness);
    await waitFor(() => deaf.lost > 2, { describe: "notifications to get lost" });
  });

  test("hide what a group without order is told for one second at most, although nothing is published", async () => {
    await using told = await openShopAlone();
    await using deaf = await openDeafSource(told.source);
    await using reader = await openShop(deaf.source, { relay: false });
    const options = { topics: ["any"], from: "start", group: "any", ordering: "none" } as const;
    await using received = await receive(reader.log, options);
    await told.outbox.publish(numbered("any", 3));
    await received.distinct(3);
    const group = told.log.group("any");
    await waitFor(async () => (await group.lag()) === 0, { describe: "no lag" });
    const tookMs: number[] = [];
    for (let round = 2; round <= 4; round += 1) {
      await group.replay("start");
      const began = performance.now();
      await waitFor(() => received.deliveries.length >= 3 * round, { describe: "what is replayed", intervalMs: 5 });
      tookMs.push(performance.now() - began);
      await waitFor(async () => (await group.lag()) === 0, { describe: "no lag" });
    }
    expect(Math.max(...tookMs)).toBeLessThan(1000 + WAY_MS * (await machineSlowness()));
    await waitFor(() => deaf.lost > 3, { describe: "notifications to get lost" });
  });
});
