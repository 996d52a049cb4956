import { setTimeout as delay } from "node:timers/promises";
import { ChangeSignal, HmsError } from "@hms/kernel";
import { CoalescedTask } from "./coalesced-task.ts";
import type { Consumer, GroupParts } from "./consumer.ts";
import type { LogRow } from "./event-row.ts";
import type { HeldShard } from "./group-store.ts";
import { LeaseLane } from "./lease-lane.ts";
import { type Page, readPage } from "./log-reader.ts";
import { PageSize } from "./page-size.ts";
import { isPassing } from "./passing-failure.ts";
import { behindRetention } from "./relay.ts";
import { ShardRunner } from "./shard-runner.ts";
import { Slots } from "./slots.ts";

const SAVE_INTERVAL_MS = 20;
/** How far one query looks along the log. */
const SCAN = 5000;
/** A shard with so many events waiting gets no more. */
const FULL_SHARD = 200;
/** A consumer with so many bytes waiting reads on only for shards that have nothing. */
const FULL_BYTES = 16 * 1024 * 1024;
const IDLE_MS = 1000;
/** From one look at the shards to the next. */
const LEAST_TICK_MS = 200;

const sizeOf = (row: LogRow) => 200 + (row.data?.byteLength ?? 0);

/**
 * A member of a group with order: holds its share of the shards, reads the log once for all of them, and delivers each
 * shard's events one after the other.
 */
export class OrderedConsumer implements Consumer {
  readonly #parts: GroupParts;
  readonly #runners = new Map<number, ShardRunner>();
  /** The last epoch of each shard that was given back or lost: what was asked before that and answered later is old. */
  readonly #past = new Map<number, number>();
  readonly #wakes = new ChangeSignal();
  readonly #end = new AbortController();
  readonly #slots: Slots;
  readonly #suspects = new Slots(1);
  readonly #pageSize = new PageSize();
  readonly #saving: CoalescedTask;
  /** Events sent again from the dead letters come beside the shards. */
  readonly #redriven: LeaseLane;
  #topics: string | null = null;
  #paused = false;
  #leaseUntil = 0;
  #bytes = 0;
  #loops: Promise<unknown> = Promise.resolve();
  #isTickWanted = false;
  #watching: Disposable | undefined;

  constructor(parts: GroupParts) {
    this.#parts = parts;
    this.#slots = new Slots(parts.settings.concurrency);
    this.#saving = new CoalescedTask(() => this.#save(), SAVE_INTERVAL_MS);
    this.#redriven = new LeaseLane(parts, { fresh: false });
  }

  /** Joins the group. @throws HmsError */
  async start(): Promise<void> {
    const held = await this.#tick();
    // Others may hold more than their share by now.
    if (held.length < (held[0]?.fair_share ?? 1)) await this.#parts.store.announce();
    this.#watching = this.#parts.head.watch(() => this.#wakes.notify());
    this.#loops = Promise.all([this.#keepLeases(), this.#read()]);
    this.#redriven.start();
  }

  refresh(): void {
    this.#isTickWanted = true;
    this.#wakes.notify();
    this.#redriven.refresh();
  }

  async #keepLeases(): Promise<void> {
    const { signal } = this.#end;
    const { leaseMs } = this.#parts.settings;
    while (!signal.aborted) {
      const began = performance.now();
      const dueAt = began + leaseMs / 3;
      while (!this.#isTickWanted && performance.now() < dueAt && !signal.aborted) {
        await this.#wakes.next(signal, Math.max(0, dueAt - performance.now())).catch(() => {});
      }
      // Fifty that join at once must not make each of fifty look fifty times.
      const restMs = began + LEAST_TICK_MS - performance.now();
      if (restMs > 0) await delay(restMs, undefined, { signal }).catch(() => {});
      this.#isTickWanted = false;
      if (signal.aborted) return;
      try {
        await this.#tick();
      } catch (error) {
        this.#report(error);
        await delay(100, undefined, { signal }).catch(() => {});
        this.#isTickWanted = true;
      }
    }
  }

  #report(error: unknown): void {
    const failure = HmsError.from(error);
    if (!isPassing(failure)) this.#parts.failed(failure);
  }

  async #tick(): Promise<readonly HeldShard[]> {
    const { store, member, settings } = this.#parts;
    const startedAt = performance.now();
    const state = await store.state();
    if (!state)
      throw new HmsError("NOT_FOUND", `The group ${this.#parts.group} has been deleted.`, { reason: "NO_GROUP" });
    this.#paused = state.paused;
    this.#topics = state.topic_pattern;
    const held = await store.hold(member, settings.leaseMs);
    this.#leaseUntil = startedAt + settings.leaseMs;
    await this.#reconcile(held);
    this.#saving.request();
    for (const runner of this.#runners.values()) runner.wake();
    this.#wakes.notify();
    return held;
  }

  async #reconcile(held: readonly HeldShard[]): Promise<void> {
    const epochs = new Map(held.map(({ shard, epoch }) => [shard, epoch]));
    for (const runner of this.#runners.values()) {
      if (epochs.get(runner.shard) !== runner.epoch) this.#drop(runner);
    }
    const isGained = ({ shard, epoch }: HeldShard) => !this.#runners.has(shard) && this.#past.get(shard) !== epoch;
    if (held.some(isGained)) {
      const retries = await this.#parts.store.retries();
      for (const shard of held.filter(isGained)) {
        this.#runners.set(shard.shard, new ShardRunner(this.#shardContext(), shard, retries));
      }
    }
    const staying = [...this.#runners.values()].filter((runner) => !runner.isReleasing);
    const surplus = staying.length - (held[0]?.fair_share ?? staying.length);
    // Those with the least to do go first.
    const idlest = staying.sort((a, b) => a.backlog - b.backlog).slice(0, Math.max(0, surplus));
    if (idlest.length > 0) void this.#giveBack(idlest).catch((error: unknown) => this.#report(error));
  }

  #shardContext() {
    return {
      ...this.#parts,
      slots: this.#slots,
      suspects: this.#suspects,
      mayStart: () => !this.#paused && performance.now() < this.#leaseUntil,
      progressed: () => this.#saving.request(),
      consumed: (row: LogRow, left: number) => {
        this.#bytes -= sizeOf(row);
        // Not for each event: when it has nothing left, or room for a good many.
        if (left === 0 || left === FULL_SHARD / 2) this.#wakes.notify();
      },
    };
  }

  /** Forgets a shard; what waits for it is its next owner's. */
  #drop(runner: ShardRunner): void {
    runner.stop();
    this.#bytes -= runner.waitingBytes(sizeOf);
    this.#runners.delete(runner.shard);
  }

  /** Hands shards over once their handlers have answered, and tells those that wait for them. */
  async #giveBack(runners: readonly ShardRunner[]): Promise<void> {
    const { store, member } = this.#parts;
    await Promise.all(runners.map((runner) => runner.release()));
    const ours = runners.filter((runner) => this.#runners.get(runner.shard) === runner);
    const progress = ours.map((runner) => runner.progress);
    try {
      await store.save(member, progress);
      await store.release(member, progress);
      for (const { shard, epoch } of progress) this.#past.set(shard, epoch);
    } finally {
      // If that failed the shard is still ours, and the next look begins it anew.
      for (const runner of ours) if (this.#runners.get(runner.shard) === runner) this.#drop(runner);
    }
    await store.announce();
  }

  async #save(): Promise<void> {
    const { store, member } = this.#parts;
    const progress = [...this.#runners.values()].filter(({ isUnsaved }) => isUnsaved).map((runner) => runner.progress);
    if (progress.length === 0) return;
    const ours = await store.save(member, progress);
    for (const entry of progress) {
      const runner = this.#runners.get(entry.shard);
      if (!runner || runner.epoch !== entry.epoch) continue;
      if (ours.has(entry.shard)) {
        runner.saved(entry);
        continue;
      }
      this.#past.set(entry.shard, entry.epoch);
      this.#drop(runner);
    }
    if (ours.size < progress.length) this.refresh();
  }

  async #read(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        await this.#readOnce(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#report(error);
        await delay(100, undefined, { signal }).catch(() => {});
      }
    }
  }

  #hasRoom(runner: ShardRunner): boolean {
    if (runner.isHalted) return false;
    return runner.backlog === 0 || (runner.backlog < FULL_SHARD && this.#bytes < FULL_BYTES);
  }

  async #readOnce(signal: AbortSignal): Promise<void> {
    const { database, head, settings } = this.#parts;
    const open = [...this.#runners.values()].filter((runner) => this.#hasRoom(runner));
    const after = Math.min(...open.map(({ read }) => read));
    // Room, a longer log and other shards all end the wait. Without any runner the minimum is infinite.
    if (after >= head.position) return void (await this.#wakes.next(signal, IDLE_MS));
    const until = Math.min(after + SCAN, head.position);
    const wanted = open.filter(({ read }) => read < until);
    const range = { after, until, limit: this.#pageSize.rows };
    const shards = { count: settings.shards, wanted: wanted.map(({ shard }) => shard) };
    try {
      const environment = settings.environment || null;
      const page = await readPage(database, range, { environment, topics: this.#topics, shards });
      this.#pageSize.learn(page.rows);
      this.#distribute(page, wanted);
    } catch (error) {
      this.#haltIfBehind(error, wanted);
    }
  }

  /** Only to those that were asked for: a shard that was lost and won meanwhile begins elsewhere. */
  #distribute({ rows, reached }: Page, wanted: readonly ShardRunner[]): void {
    const byShard = new Map<number, LogRow[]>(wanted.map(({ shard }) => [shard, []]));
    for (const row of rows) byShard.get(row.slot % this.#parts.settings.shards)?.push(row);
    for (const runner of wanted) {
      if (this.#runners.get(runner.shard) !== runner) continue;
      for (const row of runner.accept(byShard.get(runner.shard) ?? [], reached)) this.#bytes += sizeOf(row);
    }
  }

  #haltIfBehind(error: unknown, runners: readonly ShardRunner[]): void {
    const failure = HmsError.from(error);
    const { metadata, reason } = failure.details;
    if (reason !== "BEHIND_RETENTION") throw failure;
    const to = Number(metadata?.to);
    const from = Number(metadata?.from);
    for (const runner of runners) if (runner.read < to) runner.isHalted = true;
    const { group, settings, failed } = this.#parts;
    failed(behindRetention({ environment: settings.environment, name: group, from, to }));
  }

  async stop(): Promise<void> {
    const { store, member } = this.#parts;
    this.#watching?.[Symbol.dispose]();
    this.#end.abort();
    await this.#loops;
    await this.#redriven.stop();
    await Promise.all([...this.#runners.values()].map((runner) => runner.release()));
    await this.#saving[Symbol.asyncDispose]();
    await this.#save().catch(() => {});
    // Without the database the leases run out by themselves.
    await store.release(member, [...this.#runners.values()]).catch(() => {});
    await store.leave(member).catch(() => {});
  }
}
