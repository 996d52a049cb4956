import type { HmsError } from "@hms/kernel";
import { type ConnectionSource, openServiceDatabase, type ServiceDatabase } from "@hms/postgres";
import { type EmptyDatabase, openEmptyDatabase, tempFolder, waitFor } from "@hms/testkit";
import {
  type CloudEvent,
  createEvent,
  type Delivery,
  type EventLog,
  type EventLogOptions,
  type NewEvent,
  type Outbox,
  openEventLog,
  openOutbox,
  outboxTables,
  type SubscribeOptions,
  type Subscription,
} from "../index.ts";

/** A service of the tests: one table of its own, and an outbox. */
interface ShopTables {
  orders: { id: number };
}

/** One process' part of an installation with an event log and a service that publishes. */
export interface Shop extends AsyncDisposable {
  source: ConnectionSource;
  log: EventLog;
  database: ServiceDatabase<ShopTables>;
  outbox: Outbox;
  /** What the log reported. */
  failures: HmsError[];
}

/** Opens a service with an outbox on a database of its own, or beside what is there. */
export async function openShop(
  source: ConnectionSource,
  options: Omit<EventLogOptions, "source"> & { service?: string } = {},
): Promise<Shop> {
  const { service = "shop", ...logOptions } = options;
  await using stack = new AsyncDisposableStack();
  const folder = tempFolder({ "0001_orders.sql": "create table orders (id int primary key);" });
  stack.defer(async () => folder[Symbol.dispose]());
  const failures: HmsError[] = [];
  const onFailure = (failure: HmsError) => failures.push(failure);
  const log = stack.use(await openEventLog({ source, onFailure, ...logOptions }));
  const database = stack.use(
    await openServiceDatabase<ShopTables>({ source, service, migrations: folder.url, components: [outboxTables] }),
  );
  const outbox = stack.use(await openOutbox({ log, database }));
  const owned = stack.move();
  return { source, log, database, outbox, failures, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** An empty database with one shop in it. */
export async function openShopAlone(
  options: Parameters<typeof openShop>[1] = {},
): Promise<Shop & { place: EmptyDatabase }> {
  const place = await openEmptyDatabase();
  const shop = await openShop(place.source, options);
  return {
    ...shop,
    place,
    [Symbol.asyncDispose]: async () => {
      await using _place = place;
      await shop[Symbol.asyncDispose]();
    },
  };
}

/** Events numbered from 0, all of one topic. */
export function numbered(
  topic: string,
  count: number,
  more: (n: number) => Partial<NewEvent> = () => ({}),
): CloudEvent[] {
  return Array.from({ length: count }, (_, n) =>
    createEvent({ type: topic, source: "/shop", data: { n }, ...more(n) }),
  );
}

/** What a subscription has received. */
export interface Received extends AsyncDisposable {
  events: CloudEvent[];
  deliveries: Delivery[];
  subscription: Subscription;
  /** Resolves once so many different events have come. */
  distinct(count: number, deadlineMs?: number): Promise<void>;
  ids(): string[];
}

/** Subscribes and keeps what comes; `handle` may say more than ack. */
export async function receive(
  log: EventLog,
  options: SubscribeOptions,
  handle: (event: CloudEvent, delivery: Delivery) => Promise<void> | void = () => {},
): Promise<Received> {
  const events: CloudEvent[] = [];
  const deliveries: Delivery[] = [];
  const subscription = await log.subscribe(options, async (event, delivery) => {
    await handle(event, delivery);
    events.push(event);
    deliveries.push(delivery);
  });
  const ids = () => events.map(({ id }) => id);
  return {
    events,
    deliveries,
    subscription,
    ids,
    distinct: async (count, deadlineMs = 15_000) => {
      const describe = () => `${count} events; ${new Set(ids()).size} have come`;
      await waitFor(() => new Set(ids()).size >= count, { deadlineMs, describe, intervalMs: 5 });
    },
    [Symbol.asyncDispose]: () => subscription[Symbol.asyncDispose](),
  };
}

/** Sorted, for comparing what came with what was sent. */
export const sortedIds = (events: readonly CloudEvent[]): string[] => events.map(({ id }) => id).sort();
