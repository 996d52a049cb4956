import { setTimeout as delay } from "node:timers/promises";
import { ChangeSignal, HmsError } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import { CoalescedTask } from "./coalesced-task.ts";
import type { Consumer, GroupParts } from "./consumer.ts";
import type { Outcome } from "./delivery.ts";
import type { LogRow } from "./event-row.ts";
import { PageSize } from "./page-size.ts";
import { isPassing } from "./passing-failure.ts";
import { behindRetention } from "./relay.ts";
import { Slots } from "./slots.ts";
import { backoffAfter } from "./subscription-options.ts";

const SAVE_INTERVAL_MS = 10;
const POLL_MS = 250;
/** How soon is seen what another member was told to postpone, or left behind, and what the group was told meanwhile. */
const AGAIN_POLL_MS = 1000;
const REDRIVE_POLL_MS = 2000;
const SCAN = 5000;
const STORE_DEADLINE_MS = 30_000;

/** An event under a lease of its own. */
interface Leased {
  row: LogRow;
  attempts: number;
  error: string;
  /** Its last delivery was not answered: the process may have died of it. */
  isSuspect: boolean;
}

/**
 * Delivers events side by side, each under a lease of its own: new ones of a group without order (`fresh`), and in every
 * group those whose lease ran out, whose back-off is over, or that were sent again from the dead letters.
 */
export class LeaseLane implements Consumer {
  readonly #parts: GroupParts;
  readonly #fresh: boolean;
  readonly #slots: Slots;
  readonly #wakes = new ChangeSignal();
  readonly #end = new AbortController();
  readonly #pageSize = new PageSize();
  readonly #saving: CoalescedTask;
  readonly #running = new Set<Promise<void>>();
  #waiting: Leased[] = [];
  #done: { position: number; attempts: number }[] = [];
  #scannedTo = -1;
  /** Counts what may have changed where scanning has to begin. */
  #refreshes = 0;
  #againAt = 0;
  #dueAt: number[] = [];
  #isHalted = false;
  #hasSuspect = false;
  #loop: Promise<void> = Promise.resolve();
  #watching: Disposable | undefined;

  constructor(parts: GroupParts, { fresh }: { fresh: boolean }) {
    this.#parts = parts;
    this.#fresh = fresh;
    this.#slots = new Slots(fresh ? parts.settings.concurrency : 1);
    this.#saving = new CoalescedTask(() => this.#save(), SAVE_INTERVAL_MS);
  }

  /** Begins to deliver. */
  start(): void {
    if (this.#fresh) this.#watching = this.#parts.head.watch(() => this.#wakes.notify());
    this.#loop = this.#run();
  }

  refresh(): void {
    this.#scanAnew();
    this.#againAt = 0;
    this.#isHalted = false;
    this.#wakes.notify();
  }

  #scanAnew(): void {
    this.#scannedTo = -1;
    this.#refreshes += 1;
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        const found = await this.#fetch();
        this.#begin();
        if (found === 0) await this.#idle(signal);
      } catch (error) {
        if (signal.aborted) return;
        const failure = HmsError.from(error);
        if (!isPassing(failure)) this.#parts.failed(failure);
        await delay(100, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** Waits for the log to grow, a handler to end, a lease to be due, or a refresh. */
  async #idle(signal: AbortSignal): Promise<void> {
    const canFetch = this.#fresh && !this.#isHalted && this.#waiting.length < this.#parts.settings.concurrency;
    if (canFetch && this.#parts.head.position > this.#scannedTo) return;
    const isFull = this.#slots.free - this.#waiting.length <= 0;
    const waitMs = isFull ? POLL_MS : Math.max(0, this.#againAt - performance.now());
    await this.#wakes.next(signal, waitMs).catch(() => {});
  }

  async #fetch(): Promise<number> {
    const again = await this.#fetchAgain();
    return again + (this.#fresh && !this.#isHalted ? await this.#fetchNext() : 0);
  }

  async #fetchAgain(): Promise<number> {
    const { store, settings } = this.#parts;
    const free = this.#slots.free - this.#waiting.length;
    if (performance.now() < this.#againAt || free <= 0) return 0;
    if (this.#fresh) await this.#lookWhereToScan();
    const answered = await store.leaseAgain("answered", free, settings.ackWaitMs);
    // One by one, each stored before the next: if the process dies again, no other event's attempts are used up.
    const mayTakeSuspect = !this.#hasSuspect && answered.length < free;
    const suspects = mayTakeSuspect ? await store.leaseAgain("unanswered", 1, settings.ackWaitMs) : [];
    const found = answered.length + suspects.length;
    if (found < free && suspects.length === 0) this.#againAt = this.#nextLook();
    this.#hasSuspect ||= suspects.length > 0;
    for (const { attempts, error, ...row } of answered) this.#waiting.push({ row, attempts, error, isSuspect: false });
    for (const { attempts, error, ...row } of suspects) this.#waiting.push({ row, attempts, error, isSuspect: true });
    return found;
  }

  /** What a group is told (replay, resume) is heard of by a hint, which may get lost. */
  async #lookWhereToScan(): Promise<void> {
    this.#scanAnew();
    if (!this.#isHalted) return;
    const { from, to } = await this.#parts.store.gap();
    this.#isHalted = from <= to;
  }

  /** At the next time that a handler of ours asked for, and now and then for what others left. */
  #nextLook(): number {
    const now = performance.now();
    this.#dueAt = this.#dueAt.filter((at) => at > now);
    return this.#dueAt.reduce(
      (first, at) => Math.min(first, at),
      now + (this.#fresh ? AGAIN_POLL_MS : REDRIVE_POLL_MS),
    );
  }

  async #fetchNext(): Promise<number> {
    const { store, head, settings } = this.#parts;
    const room = settings.concurrency - this.#waiting.length;
    const target = head.position;
    const refreshes = this.#refreshes;
    if (room <= 0 || this.#scannedTo >= target) return 0;
    const limits = { rows: Math.min(room, this.#pageSize.rows), scan: SCAN, ackWaitMs: settings.ackWaitMs };
    try {
      const { rows, cursor } = await store.leaseNext(target, limits);
      this.#pageSize.learn(rows);
      const isScanned = rows.length < limits.rows && cursor + SCAN >= target;
      // What the group was told while we looked counts from the next look on.
      if (isScanned && refreshes === this.#refreshes) this.#scannedTo = target;
      for (const row of rows) this.#waiting.push({ row, attempts: 1, error: "", isSuspect: false });
      // Nothing found is no reason to rest while there is more to look through.
      return rows.length === 0 && !isScanned ? 1 : rows.length;
    } catch (error) {
      return await this.#haltIfBehind(error);
    }
  }

  async #haltIfBehind(error: unknown): Promise<number> {
    const failure = HmsError.from(error);
    if (failure.details.metadata?.sqlstate !== "HMS01") throw failure;
    this.#isHalted = true;
    const { group, settings, failed, store } = this.#parts;
    const { from, to } = await store.gap();
    failed(behindRetention({ environment: settings.environment, name: group, from, to }));
    return 0;
  }

  #begin(): void {
    while (this.#waiting.length > 0 && !this.#end.signal.aborted && this.#slots.tryTake()) {
      const leased = this.#waiting.shift() as Leased;
      const run = this.#deliver(leased).finally(() => {
        this.#running.delete(run);
        this.#slots.release();
        this.#begin();
        this.#wakes.notify();
      });
      this.#running.add(run);
    }
  }

  async #deliver(leased: Leased): Promise<void> {
    const { row, attempts, error, isSuspect } = leased;
    const { settings, desk } = this.#parts;
    // Handed out so often that its last answers never came: whoever had it died or overslept.
    const outcome: Outcome =
      attempts > settings.maxDeliver
        ? { kind: "term", error: error || "Handed out again and again without an answer." }
        : await desk.deliver(row, attempts);
    try {
      await retryWhileUnavailable(() => this.#settle(leased, outcome), { deadlineMs: STORE_DEADLINE_MS });
    } catch (failure) {
      // The lease runs out and the event comes again.
      this.#parts.failed(HmsError.from(failure));
    }
    if (!isSuspect) return;
    this.#hasSuspect = false;
    this.#againAt = 0;
  }

  async #settle({ row: { position }, attempts, isSuspect }: Leased, outcome: Outcome): Promise<void> {
    const { store, settings } = this.#parts;
    if (outcome.kind === "abandoned") return;
    if (outcome.kind === "ack") {
      if (isSuspect) return await store.endLeases([{ position, attempts }]);
      this.#done.push({ position, attempts });
      this.#saving.request();
      return;
    }
    const burial = { position, attempts, error: outcome.error };
    if (outcome.kind === "term" || attempts >= settings.maxDeliver) return await store.buryOfLease(burial);
    const delayMs = outcome.delayMs ?? backoffAfter(settings.backoffMs, attempts);
    await store.postponeLease(burial, delayMs);
    const dueAt = performance.now() + delayMs;
    this.#dueAt.push(dueAt);
    this.#againAt = Math.min(this.#againAt, dueAt);
    this.#wakes.notify();
  }

  async #save(): Promise<void> {
    const done = this.#done;
    if (done.length === 0) return;
    this.#done = [];
    try {
      await this.#parts.store.endLeases(done);
    } catch (error) {
      this.#done = [...done, ...this.#done];
      // Asked for again by itself while the database is away.
      setTimeout(() => this.#saving.request(), POLL_MS).unref();
      throw error;
    }
  }

  async stop(): Promise<void> {
    const { store } = this.#parts;
    this.#watching?.[Symbol.dispose]();
    this.#end.abort();
    await this.#loop;
    await Promise.all(this.#running);
    await this.#saving[Symbol.asyncDispose]();
    await this.#save().catch(() => {});
    // What nobody has begun is free at once for the others.
    for (const { row, attempts, error } of this.#waiting) {
      await store.postponeLease({ position: row.position, attempts, error }, 0, true).catch(() => {});
    }
    this.#waiting = [];
  }
}
