import { HmsError } from "@hms/kernel/errors";
import { sql } from "kysely";
import type { SettleRow } from "./claimed-task.ts";
import { type RunDatabase, rowsOf } from "./run-database.ts";
import type { StopReason } from "./step-runner.ts";

/** What a worker's upkeep needs of it. */
export interface UpkeepOptions {
  readonly database: RunDatabase;
  readonly worker: string;
  readonly leaseMs: number;
  /** For how many days logs are kept. */
  readonly logDays: number;
  /** For how many days ended runs are kept. */
  readonly runDays: number;
  /** The fences of the tasks that it does. */
  readonly running: () => string[];
  readonly stop: (fence: string, reason: StopReason) => void;
  /** Takes over claims whose answer was lost: those that `ask` finds beside the fences that the worker knows. */
  readonly adopt: (ask: (known: readonly string[]) => Promise<readonly SettleRow[]>) => Promise<void>;
  /** Something may have become ready. */
  readonly changed: () => void;
  readonly ended: (rows: readonly { runId: string; state: string }[]) => void;
  readonly onFailure: (failure: HmsError) => void;
  readonly moment: ((moment: "before-heartbeat" | "before-look") => Promise<void> | void) | undefined;
}

interface HeldRow {
  fence: string;
  holds: boolean;
  stop_reason: "cancelled" | "timed_out" | null;
}

/** So often a task may lose its worker before a person has to look. */
const MOST_LOSSES = 20;
const LOOK_EVERY_MS = 1000;
const HOUR_MS = 3_600_000;
/** Of a lease: each heartbeat prolongs it. */
const HEARTBEAT_SHARE = 0.3;
/** Heartbeats on their way at once. */
const MOST_BEATS = 3;

/** Keeps a worker's leases alive, takes over those of the dead, and ends waits that are due. */
export class Upkeep implements AsyncDisposable {
  readonly #options: UpkeepOptions;
  readonly #timers: NodeJS.Timeout[] = [];
  /** Until when each lease holds for sure, by our own clock. */
  readonly #holdsUntil = new Map<string, number>();
  readonly #beats = new Set<Promise<void>>();
  #looking: Promise<void> | undefined;
  readonly #alarms = new Set<NodeJS.Timeout>();
  #isClosed = false;

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#guarded(() => this.#forgetOld());
    this.#timers.push(setInterval(() => void this.#guarded(() => this.#forgetOld()), HOUR_MS));
    const beatMs = Math.max(50, this.#options.leaseMs * HEARTBEAT_SHARE);
    this.#timers.push(
      setInterval(() => this.beat(), beatMs),
      setInterval(() => this.look(), Math.min(LOOK_EVERY_MS, beatMs)),
    );
  }

  /** Prolongs the leases, unless too many are under way. */
  beat(): void {
    this.#dropOverdue();
    // One that is not answered must not keep the next from being sent, on another connection.
    if (this.#beats.size >= MOST_BEATS) return;
    const beat = this.#guarded(() => this.#beat()).finally(() => this.#beats.delete(beat));
    this.#beats.add(beat);
  }

  /** Looks for what is due and for leases that have run out, unless that is under way. */
  look(): void {
    this.#looking ??= this.#guarded(() => this.#look()).finally(() => {
      this.#looking = undefined;
    });
  }

  /** A wait has begun: looks for it when it is due. */
  lookIn(ms: number): void {
    if (this.#isClosed || ms > LOOK_EVERY_MS) return;
    const alarm = setTimeout(() => {
      this.#alarms.delete(alarm);
      this.look();
    }, ms + 2);
    this.#alarms.add(alarm);
  }

  /** Whether nobody else can have the task of this fence yet, by our own clock. */
  holds(fence: string): boolean {
    return (this.#holdsUntil.get(fence) ?? 0) > performance.now();
  }

  /** A lease holds since so many ms of `performance.now()`. */
  holdsSince(fence: string, since: number): void {
    this.#holdsUntil.set(fence, since + this.#options.leaseMs);
  }

  forget(fence: string): void {
    this.#holdsUntil.delete(fence);
  }

  async #guarded(work: () => Promise<void>): Promise<void> {
    if (this.#isClosed) return;
    try {
      await work();
    } catch (error) {
      this.#options.onFailure(HmsError.from(error));
    }
  }

  /** After a standstill or without a database: what may be somebody else's by now is told to stop. */
  #dropOverdue(): void {
    const now = performance.now();
    for (const [fence, until] of this.#holdsUntil) if (until < now) this.#options.stop(fence, "lost");
  }

  async #beat(): Promise<void> {
    const { database, worker, leaseMs, running, stop, adopt } = this.#options;
    const fences = running();
    await this.#options.moment?.("before-heartbeat");
    const now = performance.now();
    const held = await rowsOf(
      database,
      sql<HeldRow>`select * from heartbeat(${worker}, ${fences}::bigint[], ${leaseMs})`,
    );
    for (const { fence, holds, stop_reason } of held) {
      if (holds && this.#holdsUntil.has(fence)) this.#holdsUntil.set(fence, now + leaseMs);
      else stop(fence, "lost");
      if (holds && stop_reason) stop(fence, stop_reason);
    }
    await adopt((known) =>
      rowsOf(database, sql<SettleRow>`select * from unknown_claims(${worker}, ${known}::bigint[], ${leaseMs})`),
    );
  }

  async #forgetOld(): Promise<void> {
    const { database, logDays, runDays } = this.#options;
    await rowsOf(database, sql`select keep_log_days(${logDays})`);
    const forget = sql<{ forgotten: number }>`select forget_runs(${runDays}) as forgotten`;
    while (((await rowsOf(database, forget))[0]?.forgotten ?? 0) > 0 && !this.#isClosed);
  }

  async #look(): Promise<void> {
    const { database, changed } = this.#options;
    await this.#options.moment?.("before-look");
    const taken = await rowsOf(database, sql`select * from reap(${MOST_LOSSES})`);
    const [timers] = await rowsOf(
      database,
      sql<{ next_ms: number | null; fired: number }>`select * from fire_timers()`,
    );
    // Two commits: what the first has locked must not wait for what the second locks.
    const [kept] = await rowsOf(database, sql<{ did: number }>`select keep_runs() as did`);
    const [told] = await rowsOf(database, sql<{ did: number }>`select tell_parents() as did`);
    if (taken.length > 0 || [timers?.fired, kept?.did, told?.did].some((count = 0) => count > 0)) changed();
    if (timers?.next_ms != null) this.lookIn(Math.max(5, timers.next_ms));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const alarm of this.#alarms) clearTimeout(alarm);
    await Promise.all(this.#beats);
    await this.#looking;
  }
}
