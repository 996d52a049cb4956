import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { integrationEvents } from "@hms/contracts";
import type { Delivery, EventLog, Outbox, SubscribeOptions } from "@hms/events";
import { type CallContext, implement, livesElsewhere, type Principal, principalName } from "@hms/kernel";
import { otherEnvironment } from "../errors.ts";
import { type Acknowledgements, OpenSubscriptions } from "./acknowledgements.ts";
import { DeliveryQueue } from "./delivery-queue.ts";
import { eventMessage, readEvents } from "./event-message.ts";
import type { LiveHub } from "./live-hub.ts";
import { SubscriptionPlaces } from "./subscription-places.ts";

/** What a subscriber without a group may leave unread; older events are let go. */
const MOST_UNREAD = { most: 10_000, mostBytes: 16 << 20, bytesOf };
const DEFAULT_IN_FLIGHT = 64;

type Response = MessageInitShape<typeof integrationEvents.SubscribeResponseSchema>;

/** What an event takes, roughly: its data, and what is around it. */
function bytesOf({ delivery }: Response): number {
  return 512 + (delivery?.event?.data?.length ?? 0);
}

/** What the handlers stand on. */
export interface EventParts {
  log: EventLog;
  outbox: Outbox;
  live: LiveHub<integrationEvents.Event>;
  /** The signal of a call that also ends when the service stops. */
  untilEnd: (context: CallContext) => AbortSignal;
}

/** @throws HmsError PERMISSION_DENIED if the principal lives in another environment */
function environmentOf(asked: string, principal: Principal): string {
  const environment = asked || principal.environment || "default";
  if (livesElsewhere(principal, environment)) throw otherEnvironment(principal, environment);
  return environment;
}

/** Members of a group are of one principal: nobody takes events away from others. */
const groupOf = (group: string, { kind, id }: Principal) => `${kind}/${id}/${group}`;

/** The methods of hms.sys.integration.v1's events over their parts. */
export function eventRegistration(parts: EventParts) {
  const { log, outbox, live, untilEnd } = parts;
  const subscriptions = new OpenSubscriptions();
  const places = new SubscriptionPlaces();

  return implement(integrationEvents.EventService, {
    async publish({ topic, events, durable, environment: asked }, { principal, traceparent }) {
      const environment = environmentOf(asked, principal);
      const complete = readEvents(events, { topic, environment, principal, traceparent });
      if (durable) await outbox.publish(complete);
      else {
        complete.forEach((event, index) => {
          live.publish({ environment, topic, event: eventMessage(event, events[index]?.data) });
        });
      }
      return { ids: complete.map(({ id }) => id) };
    },

    async *subscribe(request, context) {
      const signal = untilEnd(context);
      using _ = places.take(context.principal);
      if (request.group === "") yield* everybody(parts, request, { context, signal });
      else yield* member(log, request, { context, signal, subscriptions });
    },

    acknowledge(request, { principal }) {
      subscriptions.find(request.subscriptionId, principalName(principal)).answer(request);
      return {};
    },
  });
}

interface Subscribing {
  context: CallContext;
  signal: AbortSignal;
}

/** Events of what passes through the mesh say in their subject, "ENVIRONMENT/NAME", of which service. */
const OF_A_SERVICE = /^hms\.sys\.mesh\./;

/**
 * Which events of an environment a subscriber may read, whatever its pattern: of each topic as if it had asked for it alone,
 * and of what the mesh tells of services, those of services whose traffic it may see there.
 */
function readableBy(context: CallContext, environment: string | undefined) {
  const topics = context.filter();
  const services = context.filter("mesh:read");
  return (topic: string, subject = ""): boolean => {
    if (!topics.allows({ name: topic, environment })) return false;
    if (!OF_A_SERVICE.test(topic)) return true;
    const [place, name = ""] = subject.split("/");
    return place === environment && services.allows({ name, environment });
  };
}

/** Delivers to one subscriber of many: what is published live, and what comes into the log from now on. */
async function* everybody(
  { log, live }: EventParts,
  { pattern, environment: asked }: integrationEvents.SubscribeRequest,
  { context, signal }: Subscribing,
): AsyncGenerator<Response> {
  const environment = environmentOf(asked, context.principal);
  const mayRead = readableBy(context, environment);
  const queue = new DeliveryQueue<Response>(MOST_UNREAD);
  const leave = live.listen({ environment, pattern }, ({ topic, event }) => {
    if (mayRead(topic, event.subject)) queue.offer({ delivery: { topic, event, attempt: 1 } });
  });
  try {
    await using _ = await log.subscribe({ topics: [pattern], environment }, (event, { position, bytes }) => {
      if (!mayRead(event.type, event.subject)) return undefined;
      const delivery = { topic: event.type, event: eventMessage(event, bytes), position: BigInt(position), attempt: 1 };
      return queue.put({ delivery }, signal);
    });
    yield { subscriptionId: "live" };
    yield* queue.read(signal);
  } finally {
    leave();
  }
}

/** Delivers to one member of a group, and again what it does not acknowledge. */
async function* member(
  log: EventLog,
  request: integrationEvents.SubscribeRequest,
  { context, signal, subscriptions }: Subscribing & { subscriptions: OpenSubscriptions },
): AsyncGenerator<Response> {
  const { principal } = context;
  const { id, acknowledgements, close } = subscriptions.open(principalName(principal), context.signal);
  const options = groupOptions(request, principal);
  const mayRead = readableBy(context, options.environment);
  const queue = new DeliveryQueue<Response>();
  try {
    await using _ = await log.subscribe(options, (event, delivery) => {
      if (!mayRead(event.type, event.subject)) return undefined;
      const { name, settled } = named(acknowledgements, delivery);
      const { position, attempt, bytes } = delivery;
      const message = eventMessage(event, bytes);
      const answer = { deliveryId: name, topic: event.type, event: message, position: BigInt(position), attempt };
      queue.offer({ delivery: answer });
      return settled;
    });
    yield { subscriptionId: id };
    for await (const answer of queue.read(signal)) {
      acknowledgements.sent(answer.delivery?.deliveryId ?? "");
      yield answer;
    }
  } finally {
    close();
  }
}

function named(acknowledgements: Acknowledgements, delivery: Delivery) {
  const { id, settled } = acknowledgements.wait(delivery);
  return { name: id, settled };
}

function groupOptions(request: integrationEvents.SubscribeRequest, principal: Principal): SubscribeOptions {
  const { pattern, group, start, ackWait, maxDeliveries, maxInFlight, environment } = request;
  return {
    topics: [pattern],
    group: groupOf(group, principal),
    environment: environmentOf(environment, principal),
    from: start === integrationEvents.StartPosition.EARLIEST ? "start" : "new",
    concurrency: maxInFlight || DEFAULT_IN_FLIGHT,
    ...(ackWait === undefined ? {} : { ackWaitMs: durationMs(ackWait) }),
    ...(maxDeliveries === 0 ? {} : { maxDeliver: maxDeliveries }),
  };
}
