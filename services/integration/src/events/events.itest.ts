import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { integrationEvents } from "@hms/contracts";
import { openEventLog } from "@hms/events";
import { anonymous, type Client, everyResource, Kernel, type Policy, type Principal } from "@hms/kernel";
import { openTestDatabase, waitFor } from "@hms/testkit";
import { createRequestValidator } from "@hms/validation";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type IntegrationTables,
  integrationComponents,
  integrationMigrations,
  openIntegrationService,
} from "../index.ts";

const { EventService, AckOutcome, StartPosition } = integrationEvents;
type EventClient = Client<typeof EventService>;

const payment: Principal = { kind: "service", id: "default/payment-svc", environment: "default" };
const receipt: Principal = { kind: "service", id: "default/receipt-svc", environment: "default" };
const staging: Principal = { kind: "service", id: "staging/payment-svc", environment: "staging" };

let stack = new AsyncDisposableStack();
let kernel: Kernel;
let filter: NonNullable<Policy["filter"]>;
const as = (who: Principal): EventClient => kernel.client(EventService, who);

beforeEach(async () => {
  filter = () => everyResource;
  const options = { service: "integration", migrations: integrationMigrations, components: integrationComponents };
  const own = stack.use(await openTestDatabase<IntegrationTables>(options));
  const events = stack.use(await openEventLog({ source: own.source }));
  kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }), filter: (question) => filter(question) },
    audit: { accepts: true, record: () => {} },
    validator: createRequestValidator(),
  });
  const service = stack.use(await openIntegrationService({ database: own.database, events, kernel }));
  for (const registration of service.registrations) kernel.register(registration);
});
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const jsonOf = (event: integrationEvents.Event | undefined) => JSON.parse(new TextDecoder().decode(event?.data));

/** A subscriber that has begun, with what it has got so far. */
async function subscribe(who: Principal, request: Parameters<EventClient["subscribe"]>[0]) {
  const leave = new AbortController();
  const got: integrationEvents.Delivery[] = [];
  const begun = Promise.withResolvers<string>();
  const stream = as(who).subscribe(request, { signal: leave.signal });
  const reading = (async () => {
    for await (const { subscriptionId, delivery } of stream) {
      if (subscriptionId !== "") begun.resolve(subscriptionId);
      if (delivery) got.push(delivery);
    }
  })().catch((error: unknown) => begun.reject(error));
  const subscriptionId = await begun.promise;
  const stop = async () => {
    leave.abort();
    await reading;
  };
  stack.defer(stop);
  return {
    got,
    subscriptionId,
    stop,
    arrived: (count: number) =>
      waitFor(() => got.length >= count, { describe: () => `${count} events, ${got.length} came` }),
    acknowledge: (deliveries: readonly integrationEvents.Delivery[], more = {}) =>
      as(who).acknowledge({ subscriptionId, deliveryIds: deliveries.map(({ deliveryId }) => deliveryId), ...more }),
  };
}

describe.each([
  ["live", false],
  ["durable", true],
])("a %s event", (_, durable) => {
  test("reaches everybody who has subscribed to its topic in its environment, byte for byte", async () => {
    const all = await subscribe(receipt, { pattern: "hms.ach.**" });
    const exact = await subscribe(receipt, { pattern: "hms.ach.settled" });
    const others = await subscribe(receipt, { pattern: "hms.*.failed" });
    const elsewhere = await subscribe(staging, { pattern: "**" });
    const data = new TextEncoder().encode('{"amount": 9007199254740993 }');
    const event = { id: "e-1", data, key: "k", extensions: { tenant: "t1" }, subject: "s" };
    await as(payment).publish({ topic: "hms.ach.settled", events: [event], durable });
    await Promise.all([all.arrived(1), exact.arrived(1)]);
    expect(all.got[0]).toMatchObject({ topic: "hms.ach.settled", attempt: 1, deliveryId: "" });
    expect(all.got[0]?.event).toMatchObject({
      id: "e-1",
      type: "hms.ach.settled",
      source: "service:default/payment-svc",
      subject: "s",
      key: "k",
      dataContentType: "application/json",
    });
    expect(all.got[0]?.event?.extensions.tenant).toBe("t1");
    expect(Buffer.from(all.got[0]?.event?.data ?? []).equals(data)).toBe(true);
    expect(others.got).toEqual([]);
    expect(elsewhere.got).toEqual([]);
  });

  test("is neither read nor published by who lives in another environment", async () => {
    const refused = { code: "PERMISSION_DENIED", details: { reason: "OTHER_ENVIRONMENT" } };
    const events = [{ data: bytes(1) }];
    const publishing = as(staging).publish({ topic: "t", events, durable, environment: "default" });
    await expect(publishing).rejects.toMatchObject(refused);
    for (const group of ["", "workers"]) {
      const reading = as(staging).subscribe({ pattern: "**", group, environment: "default" });
      await expect(reading[Symbol.asyncIterator]().next()).rejects.toMatchObject(refused);
    }
  });

  test("comes in the order of its publishing", async () => {
    const { got, arrived } = await subscribe(receipt, { pattern: "**" });
    for (let n = 0; n < 5; n += 1) {
      await as(payment).publish({
        topic: "t",
        events: Array.from({ length: 20 }, (__, m) => ({ data: bytes(n * 20 + m) })),
        durable,
      });
    }
    await arrived(100);
    expect(got.map(({ event }) => jsonOf(event))).toEqual(Array.from({ length: 100 }, (__, n) => n));
  });
});

describe("a group", () => {
  const group = { pattern: "jobs.**", group: "workers", start: StartPosition.EARLIEST };

  test("gets what was published before it began, and shares it among its members", async () => {
    const events = Array.from({ length: 60 }, (_, n) => ({ data: bytes(n), key: `k${n}` }));
    await as(payment).publish({ topic: "jobs.new", events, durable: true });
    const members = [await subscribe(receipt, group), await subscribe(receipt, group)];
    const seen = new Set<number>();
    await waitFor(
      async () => {
        for (const member of members) {
          const fresh = member.got.splice(0);
          for (const { event } of fresh) seen.add(jsonOf(event));
          await member.acknowledge(fresh);
        }
        return seen.size === 60;
      },
      { deadlineMs: 20_000, describe: () => `all jobs, ${seen.size} came` },
    );
  });

  test("of another service has the same name and its own events", async () => {
    await as(payment).publish({ topic: "jobs.new", events: [{ data: bytes(1) }], durable: true });
    const [mine, theirs] = [await subscribe(receipt, group), await subscribe(payment, group)];
    await Promise.all([mine.arrived(1), theirs.arrived(1)]);
    await expect(
      as(payment).acknowledge({ subscriptionId: mine.subscriptionId, deliveryIds: ["1"] }),
    ).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("gets again what it does not acknowledge, until it is a dead letter, and in a later life what was left", async () => {
    await as(payment).publish({ topic: "jobs.new", events: [{ data: bytes("poison"), key: "a" }], durable: true });
    const first = await subscribe(receipt, { ...group, maxDeliveries: 3 });
    await first.arrived(1);
    await first.acknowledge(first.got.slice(0, 1), { outcome: AckOutcome.RETRY, delay: durationFromMs(10) });
    await first.arrived(2);
    expect(first.got.map(({ attempt }) => attempt)).toEqual([1, 2]);
    await first.acknowledge(first.got.slice(1), { outcome: AckOutcome.REJECT, reason: "poison" });
    await as(payment).publish({ topic: "jobs.new", events: [{ data: bytes("good"), key: "a" }], durable: true });
    await first.arrived(3);
    await first.stop();
    const second = await subscribe(receipt, group);
    await second.arrived(1);
    expect(jsonOf(second.got[0]?.event)).toBe("good");
  });

  test("keeps the order of each key: the next one comes when the one before is done", async () => {
    const events = [1, 2, 3].map((n) => ({ data: bytes(n), key: "same" }));
    await as(payment).publish({ topic: "jobs.new", events, durable: true });
    const { got, arrived, acknowledge } = await subscribe(receipt, group);
    for (const n of [1, 2, 3]) {
      await arrived(n);
      expect(got.map(({ event }) => jsonOf(event))).toEqual([1, 2, 3].slice(0, n));
      await acknowledge(got.slice(n - 1));
    }
  });
});

test("a durable event says which contract's message it carries, as its publisher named it", async () => {
  const dataSchema = "hms-contract:acme.orders.v1.OrderPlaced";
  await as(payment).publish({ topic: "orders.placed", events: [{ data: bytes(1), dataSchema }], durable: true });
  const { arrived, got } = await subscribe(receipt, { pattern: "orders.*", group: "g", start: StartPosition.EARLIEST });
  await arrived(1);
  expect(got[0]?.event).toMatchObject({ dataSchema });
});

test("the same durable event published twice is one", async () => {
  const { got, arrived } = await subscribe(receipt, { pattern: "**" });
  const event = { id: "once", data: bytes(1) };
  await as(payment).publish({ topic: "t", events: [event], durable: true });
  await as(payment).publish({ topic: "t", events: [event], durable: true });
  await as(receipt).publish({ topic: "t", events: [event], durable: true });
  await as(payment).publish({ topic: "t", events: [{ id: "last" }], durable: true });
  await arrived(3);
  expect(got.map(({ event: one }) => `${one?.source} ${one?.id}`)).toEqual([
    "service:default/payment-svc once",
    "service:default/receipt-svc once",
    "service:default/payment-svc last",
  ]);
});

test("what cannot be published is refused with every problem", async () => {
  const publish = as(payment).publish({
    topic: "t",
    events: [{ type: "other" }, { extensions: { hmsposition: "1", time: "x" } }],
  });
  await expect(publish).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    details: {
      fieldViolations: [
        { field: "events[0].type" },
        { field: 'events[1].extensions["hmsposition"]' },
        { field: 'events[1].extensions["time"]' },
      ],
    },
  });
  await expect(as(payment).publish({ topic: "a..b", events: [{}] })).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
  });
});

test("an event that its subscribers leave with again and again becomes a dead letter", async () => {
  const order = { pattern: "shop.poison", group: "g", start: StartPosition.EARLIEST, maxDeliveries: 2 };
  await as(payment).publish({ topic: "shop.poison", events: [{ id: "e-1", key: "k", data: bytes(1) }], durable: true });
  for (const attempt of [1, 2]) {
    const member = await subscribe(receipt, order);
    await member.arrived(1);
    expect(member.got).toMatchObject([{ attempt, event: { id: "e-1" } }]);
    await member.stop();
  }
  await as(payment).publish({ topic: "shop.poison", events: [{ id: "e-2", key: "k", data: bytes(2) }], durable: true });
  const last = await subscribe(receipt, order);
  await last.arrived(1);
  expect(last.got).toMatchObject([{ attempt: 1, event: { id: "e-2" } }]);
});

test("of what the mesh tells of services, a subscriber gets what is about services whose traffic it may see there", async () => {
  filter = ({ permission, principal }) => {
    const sees = (name: string) => principal.id !== receipt.id || name === "receipt-svc";
    return permission === "mesh:read" ? { ...everyResource, allows: ({ name }) => sees(name) } : everyResource;
  };
  const [all, one] = [
    await subscribe(payment, { pattern: "**" }),
    await subscribe(receipt, { pattern: "hms.sys.mesh.**" }),
  ];
  const shared = await subscribe(receipt, { pattern: "**", group: "mesh-readers" });
  const subjects = ["default/payment-svc", "default/receipt-svc", "staging/receipt-svc", ""];
  const topic = "hms.sys.mesh.request.denied";
  for (const durable of [false, true]) {
    await as(payment).publish({ topic, events: subjects.map((subject) => ({ subject })), durable });
  }
  await as(payment).publish({ topic: "other", events: [{ subject: "default/payment-svc" }], durable: true });
  await Promise.all([all.arrived(5), one.arrived(2), shared.arrived(2)]);
  const told = ({ got }: typeof all) => got.map(({ topic: about, event }) => `${about} ${event?.subject}`);
  const [mine, other] = [`${topic} default/receipt-svc`, "other default/payment-svc"];
  expect(told(all)).toEqual([`${topic} default/payment-svc`, mine, `${topic} default/payment-svc`, mine, other]);
  expect(told(one)).toEqual([mine, mine]);
  // A group keeps the order of each subject, not between them.
  expect(told(shared).toSorted()).toEqual([mine, other].toSorted());
});
