import { type AsyncCall, Events, type ReceivedEvent, type SubscribeOptions } from "../src/index.ts";
import type { ClientRole } from "./client-role.ts";
import { outcomeOf } from "./error-outcome.ts";
import type { Order } from "./peer.ts";

const PATIENCE_MS = 10_000;

interface Started {
  running: AsyncCall<unknown>;
  method: string;
  typed: boolean;
}

/** What has arrived on a subscription and was not taken yet. */
class Inbox {
  readonly events = new Map<string, ReceivedEvent>();
  readonly #unread: ReceivedEvent[] = [];
  readonly #end = new AbortController();
  #wake = Promise.withResolvers<void>();
  /** How often the platform has taken the subscription. */
  subscribed = 0;
  #ended: unknown;

  /** Subscribes; resolves when the platform has taken it. */
  async open(source: Events, pattern: string, options: SubscribeOptions): Promise<void> {
    const subscribed = Promise.withResolvers<void>();
    const onSubscribed = () => {
      this.subscribed += 1;
      subscribed.resolve();
    };
    const all = { ...options, signal: this.#end.signal, onSubscribed };
    const reading = this.#read(source, pattern, all);
    await Promise.race([subscribed.promise, reading]);
    if (this.#ended !== undefined) throw this.#ended;
  }

  async #read(source: Events, pattern: string, options: SubscribeOptions): Promise<void> {
    try {
      for await (const event of source.subscribe(pattern, options)) {
        this.#unread.push(event);
        this.#wake.resolve();
      }
    } catch (error) {
      this.#ended = error;
    }
  }

  async take(count: number, waitMs: number): Promise<ReceivedEvent[]> {
    const late = AbortSignal.timeout(waitMs);
    const over = new Promise<void>((resolve) => late.addEventListener("abort", () => resolve()));
    while (this.#unread.length < count && !late.aborted) {
      this.#wake = Promise.withResolvers();
      await Promise.race([this.#wake.promise, over]);
    }
    const taken = this.#unread.splice(0, count);
    for (const event of taken) this.events.set(event.id, event);
    return taken;
  }

  close(): void {
    this.#end.abort();
  }
}

/** Calls that outlive their caller, and events, as the runner orders them. */
export class PlatformRole {
  readonly commands: Record<string, (order: Order) => unknown>;
  readonly #role: ClientRole;
  readonly #operations = new Map<string, Started>();
  readonly #inboxes = new Map<string, Inbox>();
  #opened: Events | undefined;

  constructor(role: ClientRole) {
    this.#role = role;
    const told = (act: (order: Order) => Promise<object>) => (order: Order) =>
      act(order).catch((error: unknown) => ({ error: outcomeOf(error) }));
    this.commands = {
      start: told((order) => this.#start(order)),
      resume: told((order) => this.#resume(order)),
      status: told(async (order) => stateOf(await this.#operation(order).running.status())),
      result: told((order) => this.#result(order)),
      cancelOperation: told(async (order) => stateOf(await this.#operation(order).running.cancel())),
      publish: told((order) => this.#publish(order)),
      subscribe: told((order) => this.#subscribe(order)),
      subscribed: (order) => ({ times: this.#inbox(order).subscribed }),
      take: (order) => this.#take(order),
      settle: told((order) => this.#settle(order)),
      unsubscribe: (order) => this.#unsubscribe(order),
    };
  }

  async #start(order: Order): Promise<object> {
    const { client, typed } = this.#role.client(order);
    const method = String(order.method);
    const { timeoutMs, idempotencyKey, callback, keepResultMs } = order;
    const options = given({ timeoutMs, idempotencyKey, callback, keepResultMs });
    const running = await client.callAsync(
      method,
      this.#role.translator.request(typed, method, order.request),
      options,
    );
    this.#operations.set(String(order.operation), { running, method, typed });
    return { id: running.id };
  }

  async #resume(order: Order): Promise<object> {
    const { client, typed } = this.#role.client(order);
    const method = String(order.method);
    this.#operations.set(String(order.operation), {
      running: await client.resume(method, String(order.of)),
      method,
      typed,
    });
    return {};
  }

  #operation({ operation }: Order): Started {
    const found = this.#operations.get(String(operation));
    if (found === undefined) throw new Error(`There is no operation ${operation}.`);
    return found;
  }

  async #result(order: Order): Promise<object> {
    const { running, method, typed } = this.#operation(order);
    const answer = await running.result({ timeoutMs: Number(order.timeoutMs ?? PATIENCE_MS) });
    return { response: this.#role.translator.response(typed, method, answer) };
  }

  #events(): Events {
    this.#opened ??= new Events();
    return this.#opened;
  }

  async #publish({ topic, data, durable, event, subject, partitionKey, type, dataSchema }: Order): Promise<object> {
    const options = given({ durable, id: event, subject, key: partitionKey, type, dataSchema });
    return { id: await this.#events().publish(String(topic), data, options) };
  }

  async #subscribe(order: Order): Promise<object> {
    const { subscription, pattern, group, start, ackWaitMs, maxDeliveries, maxInFlight } = order;
    const inbox = new Inbox();
    await inbox.open(this.#events(), String(pattern), given({ group, start, ackWaitMs, maxDeliveries, maxInFlight }));
    this.#inboxes.set(String(subscription), inbox);
    return {};
  }

  #inbox({ subscription }: Order): Inbox {
    const found = this.#inboxes.get(String(subscription));
    if (found === undefined) throw new Error(`There is no subscription ${subscription}.`);
    return found;
  }

  async #take(order: Order): Promise<object> {
    const events = await this.#inbox(order).take(Number(order.max ?? 1), Number(order.waitMs ?? PATIENCE_MS));
    return {
      events: events.map(({ topic, id, source, type, subject, key, data, dataSchema, attempt, position }) => {
        const said = { topic, id, source, type, subject, partitionKey: key, data, dataSchema };
        return { ...said, attempt, position: String(position) };
      }),
    };
  }

  async #settle(order: Order): Promise<object> {
    const event = this.#inbox(order).events.get(String(order.event));
    if (event === undefined) throw new Error(`No event ${order.event} was taken.`);
    if (order.outcome === "retry") await event.retry(order.delayMs as number | undefined);
    else if (order.outcome === "reject") await event.reject(String(order.reason ?? ""));
    else await event.ack();
    return {};
  }

  #unsubscribe(order: Order): object {
    this.#inbox(order).close();
    this.#inboxes.delete(String(order.subscription));
    return {};
  }
}

/** Options that the order has. */
function given(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function stateOf({ state }: { state: string }): object {
  return { state: state.toUpperCase() };
}
