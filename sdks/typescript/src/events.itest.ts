import { connect, createServer, type Socket } from "node:net";
import { openEventLog } from "@hms/events";
import { Kernel, type Principal } from "@hms/kernel";
import {
  type IntegrationTables,
  integrationComponents,
  integrationMigrations,
  openIntegrationService,
} from "@hms/service-integration";
import { openTestDatabase, tempFolder, waitFor } from "@hms/testkit";
import { serveSocket } from "@hms/wire";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Events, type ReceivedEvent, type SubscribeOptions } from "./index.ts";

const someone: Principal = { kind: "service", id: "default/someone", environment: "default" };

const may = { subscribe: true };
let stack = new AsyncDisposableStack();
beforeEach(() => {
  stack = new AsyncDisposableStack();
  may.subscribe = true;
});
afterEach(() => stack.disposeAsync());

/** The platform's events on a socket, and a way there that can be cut. */
async function platform() {
  const folder = stack.use(tempFolder()).path;
  const service = { service: "integration", migrations: integrationMigrations, components: integrationComponents };
  const { database, source } = stack.use(await openTestDatabase<IntegrationTables>(service));
  const kernel = new Kernel({
    identity: { authenticate: () => someone },
    policy: { decide: ({ method }) => ({ allowed: may.subscribe || method.desc.name !== "Subscribe", reason: "no" }) },
    audit: { accepts: true, record: () => {} },
  });
  const events = stack.use(await openEventLog({ source }));
  const { registrations } = stack.use(await openIntegrationService({ database, events, kernel }));
  for (const each of registrations) kernel.register(each);
  const server = await serveSocket(kernel, { path: `${folder}/far.sock`, graceMs: 100 });
  stack.defer(() => server.close({ graceMs: 0 }));
  const open = new Set<Socket>();
  const way = createServer((near) => {
    const far = connect(`${folder}/far.sock`);
    for (const [socket, other] of [[near, far] as const, [far, near] as const]) {
      open.add(socket);
      socket.on("error", () => {}).on("close", () => other.destroy());
      socket.pipe(other);
    }
  }).listen(`${folder}/near.sock`);
  const cut = () => {
    for (const socket of open) socket.destroy();
    open.clear();
  };
  stack.defer(() => {
    cut();
    way.close();
  });
  const at = (name: string) => stack.use(new Events({ registryUrl: `unix:${folder}/${name}.sock`, token: "t" }));
  return { kernel, cut, subscriber: at("near"), publisher: at("far") };
}

/** What arrives, and how often the platform has taken the subscription. */
function reading(events: Events, pattern: string, options: SubscribeOptions = {}) {
  const end = new AbortController();
  const seen = { got: [] as ReceivedEvent[], subscribed: 0 };
  const all = { ...options, signal: end.signal, onSubscribed: () => (seen.subscribed += 1) };
  const done = (async () => {
    for await (const event of events.subscribe(pattern, all)) seen.got.push(event);
  })();
  stack.defer(async () => {
    end.abort();
    await done.catch(() => {});
  });
  return Object.assign(seen, { done });
}

describe("a subscription whose connection is lost", () => {
  test("comes back by itself and says so; what is published from then on arrives", async () => {
    const { cut, subscriber, publisher } = await platform();
    const seen = reading(subscriber, "shop.*");
    await waitFor(() => seen.subscribed === 1, { describe: "the subscription" });
    await publisher.publish("shop.opened", 1);
    await waitFor(() => seen.got.length === 1, { describe: "the first event" });
    cut();
    await waitFor(() => seen.subscribed === 2, { describe: "the subscription to come back" });
    await publisher.publish("shop.closed", 2);
    await waitFor(() => seen.got.length === 2, { describe: "the second event" });
    expect(seen.got.map(({ data }) => data)).toEqual([1, 2]);
  });

  test("gets again what it had not acknowledged, and misses nothing that was published meanwhile", async () => {
    const { cut, subscriber, publisher } = await platform();
    const group = { group: "g", start: "earliest" } as const;
    const seen = reading(subscriber, "shop.*", group);
    await publisher.publish("shop.opened", 1, { durable: true, key: "k" });
    await waitFor(() => seen.got.length === 1, { describe: "the first event" });
    cut();
    await publisher.publish("shop.closed", 2, { durable: true, key: "k" });
    await waitFor(() => seen.got.length === 2, { describe: "the first event again" });
    const again = seen.got[1];
    expect([again?.id, again?.attempt]).toEqual([seen.got[0]?.id, 2]);
    await again?.ack();
    await waitFor(() => seen.got.length === 3, { describe: "the second event" });
    expect(seen.got[2]).toMatchObject({ data: 2, attempt: 1 });
    await seen.got[2]?.ack();
  });
});

describe("a subscription whose program may do something else than before", () => {
  test("begins again while it may subscribe, and ends with the refusal when it may not", async () => {
    const { kernel, subscriber, publisher } = await platform();
    const seen = reading(subscriber, "shop.*");
    await waitFor(() => seen.subscribed === 1, { describe: "the subscription" });
    const isSubscriber = ({ id }: Principal) => id === someone.id;
    kernel.endStreams(isSubscriber);
    await waitFor(() => seen.subscribed === 2, { describe: "the subscription to come back" });
    await publisher.publish("shop.opened", 1);
    await waitFor(() => seen.got.length === 1, { describe: "an event" });
    may.subscribe = false;
    kernel.endStreams(isSubscriber);
    await expect(seen.done).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });
});
