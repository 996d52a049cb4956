import { ChangeSignal, HmsError } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import type { GroupParts } from "./consumer.ts";
import type { Outcome } from "./delivery.ts";
import type { LogRow } from "./event-row.ts";
import type { HeldShard, Progress, StoredRetry } from "./group-store.ts";
import { isPassing } from "./passing-failure.ts";
import type { Slots } from "./slots.ts";
import { backoffAfter } from "./subscription-options.ts";

/** So many events may be done and not yet stored: no more are repeated after a crash. */
const MOST_UNSAVED = 64;
/** From so many owners on that died in a row, it is asked which event they die of. */
const DROPS_OF_A_LOOP = 2;
const INTERRUPTED = "The process ended while it handled the event.";

/** How far a shard is, for storing it. */
export interface ShardProgress extends Progress {
  /** How many events of it are done since it was taken. */
  done: number;
}

/** What a shard needs of the consumer that runs it. */
export interface ShardContext extends GroupParts {
  slots: Slots;
  /** Held while an event is handled of which the process may die. */
  suspects: Slots;
  /** False while the group is paused or the lease may have run out. */
  mayStart(): boolean;
  /** Something is to be stored. */
  progressed(): void;
  /** An event has left the queue, in which so many are left. */
  consumed(row: LogRow, left: number): void;
}

/** Delivers the events of one shard one after the other, for as long as this member holds it. */
export class ShardRunner {
  readonly shard: number;
  readonly epoch: number;
  /** Everything up to here has been taken from the log. */
  read: number;
  /** The log let go of the next event. */
  isHalted = false;
  /** It is being given back. */
  isReleasing = false;
  readonly #context: ShardContext;
  readonly #queue: LogRow[] = [];
  readonly #wakes = new ChangeSignal();
  readonly #end = new AbortController();
  readonly #retries: Map<number, { attempts: number; dueAt: number }>;
  /** So many of the next events may be the one that its owners die of. */
  #suspects: number;
  #saved: number;
  /** How many events are done, and how many of them are stored. */
  #done = 0;
  #doneAndSaved = 0;
  readonly #running: Promise<void>;

  constructor(context: ShardContext, held: HeldShard, retries: readonly StoredRetry[]) {
    this.#context = context;
    this.shard = held.shard;
    this.epoch = held.epoch;
    this.read = held.cursor;
    this.#saved = held.cursor;
    this.#suspects = held.drops >= DROPS_OF_A_LOOP ? MOST_UNSAVED + 1 : 0;
    const dueAt = (ms: number) => performance.now() + ms;
    this.#retries = new Map(
      retries.map(({ position, attempts, due_in_ms }) => [position, { attempts, dueAt: dueAt(due_in_ms) }]),
    );
    this.#running = this.#run();
  }

  /** How many events wait. */
  get backlog(): number {
    return this.#queue.length;
  }

  /** Everything of this shard up to here is done. */
  get cursor(): number {
    const next = this.#queue[0];
    return next ? next.position - 1 : this.read;
  }

  /** True if there is something to store. */
  get isUnsaved(): boolean {
    return this.cursor > this.#saved;
  }

  /** What is to be stored now. */
  get progress(): ShardProgress {
    return { shard: this.shard, epoch: this.epoch, cursor: this.cursor, done: this.#done };
  }

  /** The sum of the sizes of what waits. */
  waitingBytes(sizeOf: (row: LogRow) => number): number {
    return this.#queue.reduce((sum, row) => sum + sizeOf(row), 0);
  }

  /**
   * Takes the events of a stretch of the log that ends at `reached`, all of them or, once it is stopped, none: then
   * `cursor` must not move past what nobody will handle. Returns what it has taken.
   */
  accept(rows: readonly LogRow[], reached: number): LogRow[] {
    if (this.#end.signal.aborted || reached <= this.read) return [];
    const news = rows.filter(({ position }) => position > this.read);
    this.#queue.push(...news);
    this.read = reached;
    if (news.length > 0) this.#wakes.notify();
    return news;
  }

  /** What was asked of mayStart() may have changed. */
  wake(): void {
    this.#wakes.notify();
  }

  /** That has been stored. */
  saved({ cursor, done }: ShardProgress): void {
    this.#saved = Math.max(this.#saved, cursor);
    this.#doneAndSaved = Math.max(this.#doneAndSaved, done);
    this.#wakes.notify();
  }

  /** Begins nothing new; resolves once the handler that runs has answered. */
  async release(): Promise<void> {
    this.isReleasing = true;
    this.stop();
    await this.#running;
  }

  /** The shard is another's: what the handler says does not count any more. */
  stop(): void {
    this.#end.abort();
    this.#wakes.notify();
  }

  async #run(): Promise<void> {
    const { failed } = this.#context;
    while (!this.#end.signal.aborted) {
      try {
        await this.#next();
      } catch (error) {
        const failure = HmsError.from(error);
        if (this.#end.signal.aborted) return;
        // The event stays at the front; nothing of it has been stored as done.
        if (!isPassing(failure)) failed(failure);
        await this.#pause(1000);
      }
    }
  }

  async #pause(ms?: number): Promise<void> {
    await this.#wakes.next(this.#end.signal, ms).catch(() => {});
  }

  async #next(): Promise<void> {
    const row = this.#queue[0];
    if (!row) return await this.#pause();
    const retry = this.#retries.get(row.position);
    const waitMs = retry ? retry.dueAt - performance.now() : 0;
    if (waitMs > 0) return await this.#pause(waitMs);
    if (!this.#context.mayStart() || this.#done - this.#doneAndSaved >= MOST_UNSAVED) {
      this.#context.progressed();
      return await this.#pause(1000);
    }
    const attempt = (retry?.attempts ?? 0) + 1;
    if (this.#suspects === 0) return await this.#handOver(row, attempt);
    // One at a time in the whole process: no other event's attempts are used up.
    await this.#context.suspects.take();
    try {
      if (this.#end.signal.aborted) return;
      await this.#noteAttempt(row, attempt);
      await this.#handOver(row, attempt);
    } finally {
      this.#context.suspects.release();
    }
  }

  /** Before the handler starts: if the process ends with it once more, this delivery has been counted. */
  async #noteAttempt(row: LogRow, attempt: number): Promise<void> {
    if (attempt > this.#context.settings.maxDeliver) return;
    await this.#context.store.putRetry({ position: row.position, attempts: attempt, error: INTERRUPTED }, 0);
    this.#retries.set(row.position, { attempts: attempt - 1, dueAt: 0 });
  }

  async #handOver(row: LogRow, attempt: number): Promise<void> {
    const { slots, desk, settings } = this.#context;
    if (attempt > settings.maxDeliver) return await this.#bury(row, attempt - 1, INTERRUPTED);
    if (!slots.tryTake()) await slots.take();
    let outcome: Outcome;
    try {
      // Waiting for a slot may have taken long.
      if (this.#end.signal.aborted || !this.#context.mayStart()) return;
      outcome = await desk.deliver(row, attempt);
    } finally {
      slots.release();
    }
    if (this.#end.signal.aborted && !this.isReleasing) return;
    await this.#settle(row, attempt, outcome);
  }

  async #settle(row: LogRow, attempt: number, outcome: Outcome): Promise<void> {
    const { maxDeliver, backoffMs } = this.#context.settings;
    if (outcome.kind === "abandoned") return;
    if (outcome.kind === "ack") return await this.#acked(row);
    if (outcome.kind === "term" || attempt >= maxDeliver) return await this.#bury(row, attempt, outcome.error);
    const delayMs = outcome.delayMs ?? backoffAfter(backoffMs, attempt);
    this.#retries.set(row.position, { attempts: attempt, dueAt: performance.now() + delayMs });
    await this.#patiently(() =>
      this.#context.store.putRetry({ position: row.position, attempts: attempt, error: outcome.error }, delayMs),
    );
  }

  /** Repeats what must be stored for as long as the database is away and the shard is ours. */
  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    const deadlineMs = this.#context.settings.leaseMs * 4;
    return await retryWhileUnavailable(work, { deadlineMs });
  }

  async #bury(row: LogRow, attempts: number, error: string): Promise<void> {
    const { store, member } = this.#context;
    const { position } = row;
    const progress = { shard: this.shard, epoch: this.epoch, cursor: position };
    const isOurs = await this.#patiently(() => store.buryOfShard(member, progress, { position, attempts, error }));
    if (!isOurs) return this.stop();
    this.#retries.delete(position);
    this.#advance(row);
  }

  async #acked(row: LogRow): Promise<void> {
    const wasTried = this.#retries.delete(row.position);
    this.#advance(row);
    if (!wasTried) return;
    const { store, member } = this.#context;
    // Stored before the next one starts: what a second crash repeats must be that one.
    const { progress } = this;
    await this.#patiently(() => store.save(member, [progress]));
    this.saved(progress);
    await this.#patiently(() => store.dropRetry(row.position));
  }

  #advance(row: LogRow): void {
    this.#queue.shift();
    this.#done += 1;
    if (this.#suspects > 0) this.#suspects -= 1;
    this.#context.consumed(row, this.#queue.length);
    this.#context.progressed();
  }
}
