import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { durationFromMs, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { integrationEvents as contract } from "@hms/contracts";
import { type CallContext, createClient } from "@hms/kernel";
import { AnswerStream } from "./answer-stream.ts";
import { type Connection, shareConnection } from "./connection.ts";
import { FfiError } from "./errors.ts";
import { callPatiently, isAway, mayBeginAgain, platformBackoff } from "./platform-calls.ts";
import { type ConnectOptions, resolveSettings } from "./settings.ts";

/** How an event is published. */
export interface PublishOptions {
  /** True: on disk when the call answers, and delivered to groups; default: to who is subscribed now, at most once. */
  readonly durable?: boolean;
  /** Unique within its source; default: given by the platform. */
  readonly id?: string;
  /** What happened; default: the topic. */
  readonly type?: string;
  readonly subject?: string;
  /** Events with the same key are delivered in order, one at a time. */
  readonly key?: string;
  /** Who publishes; the platform puts the caller's principal before it. */
  readonly source?: string;
  /** When it happened; default: now. */
  readonly time?: Date;
  /** Default "application/json"; bytes are "application/octet-stream". */
  readonly contentType?: string;
  /** What the data is: "hms-contract:acme.orders.v1.OrderPlaced", or another URI. */
  readonly dataSchema?: string;
  /** Further attributes; names are lower-case letters and digits. */
  readonly extensions?: Readonly<Record<string, string>>;
  /** The call that it is published for: its trace goes along. Default: none, or the span that is active here. */
  readonly context?: CallContext | undefined;
}

/** How events are subscribed to. */
export interface SubscribeOptions {
  /** Members of a group share its events, and each has to be acknowledged; default: every event from now on, at most once. */
  readonly group?: string;
  /** Where a new group begins; default: with what is published from now on. */
  readonly start?: "now" | "earliest";
  /** How long a delivery may stay unacknowledged before it is made again; default 30 s. */
  readonly ackWaitMs?: number;
  /** After so many deliveries an event becomes a dead letter; default 5. */
  readonly maxDeliveries?: number;
  /** How many deliveries may be unacknowledged at once; default 64. */
  readonly maxInFlight?: number;
  /** Told when the platform has taken the subscription, again after each lost connection: what is published from then on arrives. */
  readonly onSubscribed?: () => void;
  readonly signal?: AbortSignal;
}

/** An event that has arrived. */
export interface ReceivedEvent<T = unknown> {
  readonly topic: string;
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  readonly key: string;
  readonly time: Date | undefined;
  /** What the data is, as its publisher says; "": it has not said. */
  readonly dataSchema: string;
  readonly extensions: Readonly<Record<string, string>>;
  /** JSON as values, anything else as bytes. */
  readonly data: T;
  /** 1 for the first delivery. */
  readonly attempt: number;
  /** Its place in the log; 0 if it is not durable. */
  readonly position: bigint;
  /** It is done. Without a group nothing happens. */
  ack(): Promise<void>;
  /** Not now: deliver it again, by default after the group's own pause. */
  retry(delayMs?: number): Promise<void>;
  /** Never: make it a dead letter. */
  reject(reason: string): Promise<void>;
}

/** Publishes and receives events by the platform. */
export class Events implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #release: () => Promise<void>;

  /** @throws FfiError INVALID_ARGUMENT if a setting is wrong, FAILED_PRECONDITION if no registry is set */
  constructor(options: ConnectOptions = {}) {
    try {
      const { connection, release } = shareConnection(resolveSettings(options));
      this.#connection = connection;
      this.#release = release;
    } catch (error) {
      throw FfiError.of(error);
    }
  }

  #client() {
    return createClient(contract.EventService, this.#connection.platform);
  }

  /** Publishes one event and answers with its id; bytes travel as they are, anything else as JSON. @throws FfiError */
  async publish(topic: string, data: unknown, options: PublishOptions = {}): Promise<string> {
    // A durable event with an id may be published again when it is unclear whether it was.
    const { durable = false, id = randomUUID(), context } = options;
    const event = eventOf(id, data, options);
    const { environment } = this.#connection.settings;
    const publish = () => this.#client().publish({ topic, events: [event], durable, environment }, { context });
    const { ids } = await callPatiently(publish, durable ? {} : { patienceMs: 0 });
    return ids[0] ?? id;
  }

  /**
   * The events on topics that fit: `*` stands for one part, `**` at the end for any rest. With a group each has to be
   * acknowledged. Subscribes again by itself when the platform was away, or when what this program may do has changed.
   */
  subscribe<T = unknown>(pattern: string, options: SubscribeOptions = {}): AnswerStream<ReceivedEvent<T>> {
    return new AnswerStream((signal) => this.#receive<T>(pattern, options, signal), options.signal);
  }

  async *#receive<T>(
    pattern: string,
    options: SubscribeOptions,
    signal: AbortSignal,
  ): AsyncGenerator<ReceivedEvent<T>> {
    const request = subscribeRequest(pattern, options, this.#connection.settings.environment);
    const backoff = platformBackoff();
    while (!signal.aborted) {
      try {
        let subscriptionId = "";
        for await (const answer of this.#client().subscribe(request, { signal })) {
          backoff.reset();
          if (answer.subscriptionId !== "") {
            subscriptionId = answer.subscriptionId;
            options.onSubscribed?.();
          }
          if (answer.delivery) yield this.#received<T>(answer.delivery, subscriptionId);
        }
      } catch (error) {
        if (!mayBeginAgain(FfiError.of(error))) throw error;
      }
      await pause(backoff.next(), undefined, { signal }).catch(() => {});
    }
  }

  #received<T>(delivery: contract.Delivery, subscriptionId: string): ReceivedEvent<T> {
    const { topic, event, position, attempt, deliveryId } = delivery;
    const { RETRY, REJECT, UNSPECIFIED } = contract.AckOutcome;
    const tell = async (outcome: contract.AckOutcome, more: { delayMs?: number | undefined; reason?: string } = {}) => {
      if (deliveryId === "") return;
      const { delayMs, reason = "" } = more;
      const delay = delayMs === undefined ? {} : { delay: durationFromMs(delayMs) };
      const request = { subscriptionId, deliveryIds: [deliveryId], outcome, reason, ...delay };
      await this.#client().acknowledge(request).catch(failed);
    };
    return {
      topic,
      id: event?.id ?? "",
      source: event?.source ?? "",
      type: event?.type ?? "",
      subject: event?.subject ?? "",
      key: event?.key ?? "",
      time: event?.time && timestampDate(event.time),
      dataSchema: event?.dataSchema ?? "",
      extensions: event?.extensions ?? {},
      data: dataOf(event) as T,
      attempt,
      position,
      ack: () => tell(UNSPECIFIED),
      retry: (delayMs) => tell(RETRY, { delayMs }),
      reject: (reason) => tell(REJECT, { reason }),
    };
  }

  /**
   * Hands each event of a group to a handler and acknowledges it when that has ended well; what it throws is told as
   * "retry". Goes on until the signal aborts. @throws FfiError of the subscription
   */
  async consume<T = unknown>(
    pattern: string,
    handler: (event: ReceivedEvent<T>) => unknown,
    options: SubscribeOptions & { readonly group: string },
  ): Promise<void> {
    for await (const event of this.subscribe<T>(pattern, options)) {
      const settle = await Promise.resolve(event)
        .then(handler)
        .then(
          () => event.ack,
          () => event.retry,
        );
      await settle().catch(deliveredAgain);
    }
  }

  /** Ends this object's share of the connection. */
  close(): Promise<void> {
    return this.#release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function eventOf(id: string, data: unknown, options: PublishOptions) {
  const {
    type = "",
    subject = "",
    key = "",
    source = "",
    time = new Date(),
    dataSchema = "",
    extensions = {},
  } = options;
  const isBytes = data instanceof Uint8Array;
  return {
    id,
    type,
    subject,
    key,
    source,
    time: timestampFromDate(time),
    dataContentType: options.contentType ?? (isBytes ? "application/octet-stream" : "application/json"),
    dataSchema,
    extensions: { ...extensions },
    data: isBytes ? new Uint8Array(data) : new TextEncoder().encode(JSON.stringify(data ?? null)),
  };
}

function subscribeRequest(pattern: string, options: SubscribeOptions, environment: string) {
  const { group = "", start = "now", ackWaitMs, maxDeliveries = 0, maxInFlight = 0 } = options;
  const { UNSPECIFIED, EARLIEST } = contract.StartPosition;
  return {
    pattern,
    group,
    start: start === "earliest" ? EARLIEST : UNSPECIFIED,
    maxDeliveries,
    maxInFlight,
    environment,
    ...(ackWaitMs === undefined ? {} : { ackWait: durationFromMs(ackWaitMs) }),
  };
}

function dataOf(event: contract.Event | undefined): unknown {
  if (event === undefined) return undefined;
  const { dataContentType, data } = event;
  if (dataContentType !== "" && !/[/+]json\b/.test(dataContentType)) return data;
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch {
    // Whoever published it says that it is JSON and is wrong; the bytes are all there is.
    return data;
  }
}

/** Where the subscription has ended with its server, the event is delivered again to the next one. */
function deliveredAgain(error: FfiError): void {
  if (error.code !== "NOT_FOUND" && !isAway(error)) throw error;
}

function failed(error: unknown): never {
  throw FfiError.of(error);
}
