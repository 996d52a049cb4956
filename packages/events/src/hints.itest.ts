import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createEvent } from "./index.ts";
import { openShop, openShopAlone, type Shop } from "./testing/shop.ts";

/** A transaction with a NOTIFY takes one lock of the whole server when it commits, and the rest wait for its disk. */
describe("a business transaction that publishes", () => {
  const stack = new AsyncDisposableStack();
  let shop: Shop;
  /** Who sent which notification, on any channel of the event log's. */
  const heard: { channel: string; processId: number | undefined }[] = [];

  beforeAll(async () => {
    const relay = stack.use(await openShopAlone());
    // Not the relay's process: only those have somebody to tell.
    shop = stack.use(await openShop(relay.source, { relay: false, service: "bakery" }));
    const listener = new pg.Client(await relay.source.admin());
    await listener.connect();
    stack.defer(() => listener.end());
    listener.on("notification", ({ channel, processId }) => heard.push({ channel, processId }));
    for (const channel of ["events.outbox", "events.head", "bakery.outbox"])
      await listener.query(`listen "${channel}"`);
  });
  afterAll(() => stack.disposeAsync());

  const event = () => createEvent({ type: "bread.baked", source: "/bakery" });
  const pidOf = async (transaction: Parameters<Parameters<Shop["database"]["transaction"]>[0]>[0]) =>
    (await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(transaction)).rows[0]?.pid;
  const hints = () => heard.filter(({ channel }) => channel === "events.outbox");

  test("notifies nobody: the hint is sent after its commit, by another connection", async () => {
    const business = new Set<number | undefined>();
    for (let round = 1; round <= 3; round += 1) {
      const before = hints().length;
      await shop.database.transaction(async (transaction) => {
        business.add(await pidOf(transaction));
        await shop.outbox.publish([event()], { transaction });
      });
      await waitFor(() => hints().length > before, { describe: "the hint", intervalMs: 2 });
    }
    expect(heard.filter(({ processId }) => business.has(processId))).toEqual([]);
  });

  test("sends no hint while it is open, and none if it is rolled back", async () => {
    const before = hints().length;
    const undone = shop.database.transaction(async (transaction) => {
      await shop.outbox.publish([event()], { transaction });
      expect(hints()).toHaveLength(before);
      throw new RangeError("changed my mind");
    });
    await expect(undone).rejects.toThrow(RangeError);
    // What a later one sends comes later.
    await shop.database.transaction((transaction) => shop.outbox.publish([event()], { transaction }));
    await waitFor(() => hints().length > before, { describe: "the hint of the second one", intervalMs: 2 });
    expect(hints()).toHaveLength(before + 1);
  });

  test("is not made to notify by what lies in the database either", async () => {
    const { rows } = await sql<{ name: string }>`
      select p.oid::regprocedure::text as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where n.nspname in ('bakery', 'events', 'shop') and p.prosrc ilike '%notify%'
      union all
      select r.rulename from pg_rules r where r.definition ilike '%notify%'`.execute(shop.database.db);
    expect(rows).toEqual([]);
  });
});
