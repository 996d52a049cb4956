import { randomUUID } from "node:crypto";
import type { HmsError } from "@hms/kernel/errors";
import { type ConnectionSource, openServiceDatabase, retryWhileUnavailable } from "@hms/postgres";
import { sql } from "kysely";
import { CoalescedTask } from "./coalesced-task.ts";
import type { Consumer, ConsumerParts } from "./consumer.ts";
import { DeliveryDesk, type EventHandler } from "./delivery.ts";
import { EphemeralConsumer } from "./ephemeral-consumer.ts";
import { type EventDatabase, rowsOf } from "./event-database.ts";
import { type GroupHandle, groupHandle } from "./group-handle.ts";
import { ensureGroup, GroupStore } from "./group-store.ts";
import { HeadWatch } from "./head-watch.ts";
import { LeaseLane } from "./lease-lane.ts";
import { OrderedConsumer } from "./ordered-consumer.ts";
import { Relay } from "./relay.ts";
import { startPosition } from "./start-position.ts";
import { type SubscribeOptions, type SubscriptionSettings, subscriptionSettings } from "./subscription-options.ts";

const HINT_INTERVAL_MS = 20;
const PATIENCE_MS = 10_000;
/** How long a closing subscription waits for handlers. */
const GRACE_MS = 5000;
const DEFAULT_RETENTION_DAYS = 7;

/** How the event log is opened. */
export interface EventLogOptions {
  source: ConnectionSource;
  /** Whether this process may be the one that moves events from the outboxes to the log; default true. */
  relay?: boolean;
  /** For how many days events are kept, if this process moves them; default 7. */
  retentionDays?: number;
  /** Most connections to the database; default 5. */
  poolSize?: number;
  /** How long to wait for a database that is starting; default 10 000. */
  deadlineMs?: number;
  /** Hears what fails with no caller to tell; default: nobody. */
  onFailure?: (failure: HmsError) => void;
}

/** A subscription; disposing it tells its handlers to stop, waits 5 s for them, and stores how far they came. */
export interface Subscription extends AsyncDisposable {
  /** Resolves once it has been closed. */
  readonly closed: Promise<void>;
}

/** The event log of an installation, as one process sees it. */
export interface EventLog extends AsyncDisposable {
  /** The database role that reads outboxes. */
  readonly role: string;
  /** True while this process is the one that moves events to the log. */
  readonly isRelay: boolean;
  /**
   * Hands events to `handler`: at least once with a group, which remembers across restarts; without a group every
   * process gets every event from `from` on, once, in order, while it lives.
   * @throws HmsError INVALID_ARGUMENT, OUT_OF_RANGE, FAILED_PRECONDITION if the group was made otherwise.
   */
  subscribe(options: SubscribeOptions, handler: EventHandler): Promise<Subscription>;
  /** A group, for operators; `environment` as it was subscribed. */
  group(name: string, environment?: string): GroupHandle;
  /** The last position of the log. */
  position(): Promise<number>;
  /** For outboxes: events have been committed. */
  outboxWritten(): void;
  /** For outboxes: there is one more. */
  outboxOpened(): void;
}

/**
 * Opens the event log: its schema `events` and role, and unless `relay` is false a candidate for moving events.
 * @throws HmsError UNAVAILABLE after the deadline, and what openServiceDatabase() throws.
 */
export async function openEventLog(options: EventLogOptions): Promise<EventLog> {
  await using stack = new AsyncDisposableStack();
  const database: EventDatabase = stack.use(
    await openServiceDatabase({
      source: options.source,
      service: "events",
      migrations: new URL("../migrations/", import.meta.url),
      poolSize: options.poolSize ?? 5,
      deadlineMs: options.deadlineMs ?? PATIENCE_MS,
    }),
  );
  const log = new LogOfProcess(database, options);
  stack.use(log);
  const owned = stack.move();
  return Object.assign(log, { [Symbol.asyncDispose]: () => owned.disposeAsync() });
}

class LogOfProcess implements EventLog {
  readonly role: string;
  readonly #database: EventDatabase;
  readonly #head: HeadWatch;
  readonly #relay: Relay | undefined;
  readonly #hint: CoalescedTask;
  readonly #failed: (failure: HmsError) => void;
  readonly #subscriptions = new Set<Subscription>();
  readonly #groups = new Map<number, Set<Consumer>>();
  #listening: Promise<AsyncDisposable> | undefined;

  constructor(database: EventDatabase, options: EventLogOptions) {
    const { relay = true, retentionDays = DEFAULT_RETENTION_DAYS, onFailure = () => {} } = options;
    this.#database = database;
    this.role = database.isolation.role;
    this.#failed = onFailure;
    this.#head = new HeadWatch(database);
    this.#hint = new CoalescedTask(() => this.#wakeRelay(), HINT_INTERVAL_MS);
    const advanced = (position: number) => this.#head.advance(position);
    this.#relay = relay ? new Relay({ database, retentionDays, advanced, failed: onFailure }) : undefined;
  }

  get isRelay(): boolean {
    return this.#relay?.leading ?? false;
  }

  outboxWritten(): void {
    if (this.#relay?.leading) this.#relay.wake();
    else this.#hint.request();
  }

  outboxOpened(): void {
    if (this.#relay?.leading) this.#relay.discover();
    // Unheard, it costs two seconds.
    else void this.#database.notify("outbox", "new").catch(() => {});
  }

  /** Nobody waits for the disk: a hint that gets lost costs a quarter of a second. */
  async #wakeRelay(): Promise<void> {
    await rowsOf(
      this.#database,
      sql`select set_config('synchronous_commit', 'off', true), pg_notify('events.outbox', '')`,
    );
  }

  async position(): Promise<number> {
    return await this.#head.refresh();
  }

  group(name: string, environment = ""): GroupHandle {
    return groupHandle({ database: this.#database, environment, name });
  }

  async subscribe(options: SubscribeOptions, handler: EventHandler): Promise<Subscription> {
    const settings = subscriptionSettings(options);
    const desk = new DeliveryDesk(handler, settings.ackWaitMs);
    const parts: ConsumerParts = { database: this.#database, head: this.#head, settings, desk, failed: this.#failed };
    this.#head.start();
    const consumer = await retryWhileUnavailable(() => this.#startConsumer(parts, settings, options.group), {
      deadlineMs: PATIENCE_MS,
    });
    const ended = Promise.withResolvers<void>();
    let ending: Promise<void> | undefined;
    const end = async () => {
      desk.tellClosing();
      const grace = setTimeout(() => desk.abandon(), GRACE_MS);
      await consumer.stop();
      clearTimeout(grace);
      this.#forget(consumer, subscription);
      ended.resolve();
    };
    const close = () => {
      ending ??= end();
      return ending;
    };
    const subscription: Subscription = { closed: ended.promise, [Symbol.asyncDispose]: close };
    this.#subscriptions.add(subscription);
    if (options.signal?.aborted) await close();
    options.signal?.addEventListener("abort", () => void close().catch(() => {}), { once: true });
    return subscription;
  }

  async #startConsumer(
    parts: ConsumerParts,
    settings: SubscriptionSettings,
    group: string | undefined,
  ): Promise<Consumer> {
    await this.#head.refresh();
    if (group === undefined) {
      const consumer = new EphemeralConsumer(parts, await startPosition(this.#database, settings.from));
      consumer.start();
      return consumer;
    }
    await this.#listenToGroups();
    const store = new GroupStore(this.#database, await ensureGroup(this.#database, group, settings));
    const ofGroup = { ...parts, store, group, member: `${process.pid}-${randomUUID()}` };
    const consumer =
      settings.ordering === "key" ? new OrderedConsumer(ofGroup) : new LeaseLane(ofGroup, { fresh: true });
    await consumer.start();
    const known = this.#groups.get(store.id) ?? new Set();
    this.#groups.set(store.id, known.add(consumer));
    return consumer;
  }

  async #listenToGroups(): Promise<void> {
    const refresh = (payload: string | undefined) => {
      for (const [id, consumers] of this.#groups) {
        if (payload !== undefined && payload !== String(id)) continue;
        for (const consumer of consumers) consumer.refresh();
      }
    };
    this.#listening ??= this.#database.listen("group", refresh);
    try {
      await this.#listening;
    } catch (error) {
      this.#listening = undefined;
      throw error;
    }
  }

  #forget(consumer: Consumer, subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
    for (const consumers of this.#groups.values()) consumers.delete(consumer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#subscriptions].map((subscription) => subscription[Symbol.asyncDispose]()));
    await this.#hint[Symbol.asyncDispose]();
    await this.#relay?.[Symbol.asyncDispose]();
    await this.#head[Symbol.asyncDispose]();
    await (await this.#listening?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
}
