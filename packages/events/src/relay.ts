import { setTimeout as delay } from "node:timers/promises";
import { ChangeSignal, HmsError } from "@hms/kernel";
import { CoalescedTask } from "./coalesced-task.ts";
import { type EventDatabase, rowsOf } from "./event-database.ts";
import { dayOf, dropParts, ensurePart, groupsBehind, partTable } from "./log-parts.ts";
import { discoverOutboxes } from "./outbox-discovery.ts";
import { isPassing } from "./passing-failure.ts";
import { anyOutboxFilled, type RelayBatch, type RelayRoute, relayStatement } from "./relay-statement.ts";

/** At most this many hints a second wake other processes. */
const HINT_INTERVAL_MS = 20;
const POLL_MS = 250;
const DISCOVER_EVERY_MS = 2000;
const RETENTION_EVERY_MS = 60_000;
const BATCH = 2000;
const PAUSE_AFTER_FAILURE_MS = 100;

/** What a relay is made of. */
export interface RelayOptions {
  database: EventDatabase;
  retentionDays: number;
  /** Told in this process, at once, that the log has grown to this position. */
  advanced: (position: number) => void;
  failed: (failure: HmsError) => void;
}

/**
 * Moves events from all outboxes to the log, one process of the database at a time. Others stand by and take over as
 * soon as the leader's connection ends. Two that both believe to lead cannot both write: see relayStatement().
 */
export class Relay implements AsyncDisposable {
  readonly #options: RelayOptions;
  readonly #wakes = new ChangeSignal();
  readonly #hint: CoalescedTask;
  readonly #end = new AbortController();
  readonly #running: Promise<void>;
  #woken = false;
  #leading = false;
  #position = 0;
  #route: RelayRoute | undefined;
  #outboxes: readonly string[] = [];
  #discoverAt = 0;
  #retainAt = 0;
  readonly #behind = new Set<string>();

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#hint = new CoalescedTask(() => options.database.notify("head", String(this.#position)), HINT_INTERVAL_MS);
    this.#running = this.#run();
  }

  /** True while this process is the one that moves events. */
  get leading(): boolean {
    return this.#leading;
  }

  /** Looks at the outboxes now. */
  wake(): void {
    this.#woken = true;
    this.#wakes.notify();
  }

  /** Looks for outboxes that are new. */
  discover(): void {
    this.#discoverAt = 0;
    this.wake();
  }

  async #run(): Promise<void> {
    const { database, failed } = this.#options;
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        const lead = (lost: AbortSignal) => this.#lead(AbortSignal.any([lost, signal]));
        await database.withAdvisoryLock("relay", lead, { deadlineMs: Number.POSITIVE_INFINITY, signal });
      } catch (error) {
        const failure = HmsError.from(error);
        // Two at once, or one that did not know of a new day: nothing was written, and the next try knows more.
        if (!isPassing(failure) && !signal.aborted) failed(failure);
        await delay(PAUSE_AFTER_FAILURE_MS, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** Works until the lock is lost; any error gives it up, so that a healthier process may take over. */
  async #lead(over: AbortSignal): Promise<void> {
    this.#leading = true;
    this.#route = undefined;
    this.#discoverAt = 0;
    try {
      await using _listening = await this.#options.database.listen("outbox", (payload) => this.#hinted(payload));
      while (!over.aborted) await this.#step(over);
    } finally {
      this.#leading = false;
    }
  }

  #hinted(payload: string | undefined): void {
    if (payload === "") this.wake();
    else this.discover();
  }

  async #step(over: AbortSignal): Promise<void> {
    const route = await this.#currentRoute();
    const taken = route ? await this.#moveBatch(route) : 0;
    if (taken > 0) return;
    if (performance.now() >= this.#retainAt) await this.#retain();
    if (await this.#sleep(over)) return;
    // Nobody woke us: a cheaper look.
    if (!(await this.#anythingWaits())) return;
    this.#woken = true;
  }

  /** True if woken. */
  async #sleep(over: AbortSignal): Promise<boolean> {
    while (!over.aborted) {
      if (this.#woken) {
        this.#woken = false;
        return true;
      }
      if (!(await this.#wakes.next(over, POLL_MS).catch(() => true))) return false;
    }
    return true;
  }

  async #anythingWaits(): Promise<boolean> {
    const [row] = await rowsOf(this.#options.database, anyOutboxFilled(this.#outboxes));
    return row?.filled ?? false;
  }

  async #moveBatch(route: RelayRoute): Promise<number> {
    const { database, advanced } = this.#options;
    const statement = relayStatement(route);
    const work = async (transaction: Parameters<typeof statement.execute>[0]) =>
      (await statement.execute(transaction)).rows[0];
    const batch = (await database.transaction(work, "repeatable read")) as RelayBatch;
    if (batch.day !== route.day) {
      this.#route = undefined;
      return 1;
    }
    if (batch.position !== null) {
      this.#position = batch.position;
      advanced(batch.position);
      this.#hint.request();
    }
    return batch.taken;
  }

  async #currentRoute(): Promise<RelayRoute | undefined> {
    const { database } = this.#options;
    const today = dayOf(new Date());
    const isDiscoveryDue = performance.now() >= this.#discoverAt;
    if (this.#route && !isDiscoveryDue && this.#route.day >= today) return this.#route;
    if (isDiscoveryDue) {
      this.#outboxes = await discoverOutboxes(database);
      this.#discoverAt = performance.now() + DISCOVER_EVERY_MS;
    }
    const [newest = today, ...older] = await ensurePart(database, today);
    const recent: [string, ...string[]] = [partTable(newest), ...older.slice(0, 1).map(partTable)];
    this.#route =
      this.#outboxes.length === 0 ? undefined : { outboxes: this.#outboxes, day: newest, recent, limit: BATCH };
    return this.#route;
  }

  async #retain(): Promise<void> {
    const { database, retentionDays, failed } = this.#options;
    this.#retainAt = performance.now() + RETENTION_EVERY_MS;
    const firstDay = dayOf(new Date(Date.now() - retentionDays * 86_400_000));
    try {
      const dropped = await dropParts(database, firstDay);
      if (dropped.length > 0) this.#route = undefined;
      await this.#reportBehind();
    } catch (error) {
      // Tried again in a minute; moving events matters more.
      const failure = HmsError.from(error);
      if (isPassing(failure)) throw failure;
      failed(failure);
    }
  }

  /** Says once of each group that it has fallen behind. */
  async #reportBehind(): Promise<void> {
    const behind = await groupsBehind(this.#options.database);
    const names = new Set(behind.map(({ environment, name }) => `${environment}/${name}`));
    for (const known of this.#behind) if (!names.has(known)) this.#behind.delete(known);
    for (const { environment, name, from, to } of behind) {
      if (this.#behind.has(`${environment}/${name}`)) continue;
      this.#behind.add(`${environment}/${name}`);
      this.#options.failed(behindRetention({ environment, name, from, to }));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#running;
    await this.#hint[Symbol.asyncDispose]();
  }
}

/** What a group is told whose next event is no longer there. */
export function behindRetention(group: { environment: string; name: string; from: number; to: number }): HmsError {
  const { environment, name, from, to } = group;
  return new HmsError(
    "DATA_LOSS",
    `The group ${name} did not handle the events ${from} to ${to} before the log let go of them. It stands still until replay() tells it where to go on: "start" is the oldest event there is.`,
    { reason: "BEHIND_RETENTION", metadata: { environment, group: name, from: String(from), to: String(to) } },
  );
}
