import { setTimeout as delay } from "node:timers/promises";
import { ChangeSignal, HmsError, type Kernel } from "@hms/kernel";
import { cancelledOnRequest, outOfTime, stopping } from "../errors.ts";
import { FairShares } from "./fair-shares.ts";
import { attemptOperation, type CurrentPrincipal, errorBytes } from "./operation-attempt.ts";
import type { ClaimedOperation, OperationStore } from "./operation-store.ts";

/** What a worker works with. */
export interface OperationWorkerOptions {
  store: OperationStore;
  kernel: Kernel;
  current: CurrentPrincipal;
  /** Operations run at once; default 64. Half of them for one principal at most. */
  concurrency: number;
  /** How long an operation stays a worker's that says nothing; default 15 s. */
  leaseMs: number;
  /** How often it looks by itself for what is due; default 500 ms. */
  pollMs: number;
  /** An operation has ended or changed hands. */
  changed: () => void;
  /** Hears why work could not be found or kept; it is tried again. */
  failed: (failure: HmsError) => void;
}

interface Running {
  operation: ClaimedOperation;
  abort: AbortController;
  done: Promise<void>;
}

const FORGET_EVERY_MS = 60_000;

/**
 * Runs operations that are due, here and in any number of processes at once: each is held by a lease, and an attempt
 * that has lost its lease changes nothing any more.
 */
export class OperationWorker {
  readonly #options: OperationWorkerOptions;
  readonly #running = new Map<string, Running>();
  readonly #shares: FairShares;
  readonly #wake = new ChangeSignal();
  readonly #end = new AbortController();
  readonly #loops: Promise<void>[];
  #woken = false;

  constructor(options: OperationWorkerOptions) {
    this.#options = options;
    this.#shares = new FairShares(options.concurrency >> 1);
    this.#loops = [this.#loop(() => this.#takeDue(), options.pollMs), this.#renewLoop(), this.#forgetLoop()];
  }

  /** Something may be due now. */
  wake(): void {
    this.#woken = true;
    this.#wake.notify();
  }

  /** Stops an operation that runs here. */
  cancel(operationId: string): void {
    this.#running.get(operationId)?.abort.abort(cancelledOnRequest());
  }

  /** Takes nothing more, gives what runs `graceMs`, then stops it: what may be repeated is left to the next worker. */
  async stop(graceMs: number): Promise<void> {
    this.#end.abort();
    // What was being taken when this began runs as well.
    await Promise.all(this.#loops);
    const running = [...this.#running.values()];
    const timer = setTimeout(() => {
      for (const { abort } of running) abort.abort(stopping());
    }, graceMs);
    await Promise.all(running.map(({ done }) => done));
    clearTimeout(timer);
  }

  async #loop(work: () => Promise<void>, pauseMs: number): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      this.#woken = false;
      await work().catch((error: unknown) => this.#options.failed(HmsError.from(error)));
      if (this.#woken) continue;
      await this.#wake.next(signal, pauseMs).catch(() => {});
    }
  }

  async #every(ms: number, work: () => Promise<void>): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      await delay(ms, undefined, { signal }).catch(() => {});
      if (!signal.aborted) await work().catch((error: unknown) => this.#options.failed(HmsError.from(error)));
    }
  }

  #renewLoop(): Promise<void> {
    return this.#every(this.#options.leaseMs / 3, () => this.#renew());
  }

  #forgetLoop(): Promise<void> {
    return this.#every(FORGET_EVERY_MS, () => this.#options.store.forget());
  }

  async #takeDue(): Promise<void> {
    const { store, concurrency, leaseMs, changed } = this.#options;
    const expired = await store.expire(errorBytes(outOfTime()));
    if (expired.length > 0) changed();
    const limit = Math.min(concurrency - this.#running.size, this.#shares.room);
    if (limit <= 0) return;
    const claimed = await store.claim({ limit, others: this.#shares.served(), leaseMs });
    for (const operation of claimed) this.#run(operation);
    // There may be more than there was room for in one go.
    if (claimed.length === limit) this.#woken = true;
  }

  #run(operation: ClaimedOperation): void {
    const { operation_id, principal } = operation;
    this.#shares.begin(principal);
    // An attempt of this very process that had lost its lease, because everything stood still for a while.
    this.#running.get(operation_id)?.abort.abort(stopping());
    const abort = new AbortController();
    const done = this.#attempt(operation, abort.signal)
      .catch((error: unknown) => this.#options.failed(HmsError.from(error)))
      .finally(() => {
        this.#shares.end(principal);
        if (this.#running.get(operation_id) === running) this.#running.delete(operation_id);
        this.wake();
      });
    const running = { operation, abort, done };
    this.#running.set(operation_id, running);
  }

  async #attempt(operation: ClaimedOperation, signal: AbortSignal): Promise<void> {
    const { kernel, current, store, changed } = this.#options;
    const outcome = await attemptOperation({ kernel, current }, operation, signal);
    // If this fails, the lease runs out and the operation is taken up again.
    if ("retryAfterMs" in outcome) await store.postpone(operation, outcome.retryAfterMs);
    else await store.end(operation, outcome);
    changed();
  }

  async #renew(): Promise<void> {
    const mine = [...this.#running.values()];
    if (mine.length === 0) return;
    const attempts = mine.map(({ operation }) => operation);
    const held = await this.#options.store.renew(attempts, this.#options.leaseMs);
    const heldIds = new Map(held.map((attempt) => [attempt.operation_id, attempt]));
    for (const { operation, abort } of mine) {
      const still = heldIds.get(operation.operation_id);
      // An attempt that somebody else has taken over must not go on beside his.
      if (still === undefined && this.#running.has(operation.operation_id)) abort.abort(stopping());
      if (still?.cancel_requested) abort.abort(cancelledOnRequest());
    }
  }
}
