import type { Durable, RemoteWorker } from "@hms/durable";
import { tooManyWaiting } from "./errors.ts";

const LOOK_EVERY_MS = 250;
const SOON_MS = 20;
/** Calls of one principal that may wait at once. */
const MOST_WAITING = 100;

interface Waiting {
  readonly worker: RemoteWorker;
  readonly wake: () => void;
}

/**
 * Calls that wait for a queue to have steps: one look for all of them each 250 ms, and at once when something has become ready
 * in this process; one call of a queue is woken after the other.
 */
export class WaitingClaims implements AsyncDisposable {
  readonly #remote: Durable["remote"];
  readonly #end = new AbortController();
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #dueAt = 0;
  #looking: Promise<void> | undefined;

  constructor(remote: Durable["remote"]) {
    this.#remote = remote;
    void this.#hear();
  }

  async #hear(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      await this.#remote.ready.next(signal).catch(() => {});
      if (this.#waiting.length > 0) this.#schedule(SOON_MS);
    }
  }

  /**
   * Resolves when there may be a step, when `timeoutMs` are over, or when the signal aborts.
   * @throws HmsError RESOURCE_EXHAUSTED if too many calls of this principal wait.
   */
  async wait(worker: RemoteWorker, signal: AbortSignal, timeoutMs: number): Promise<void> {
    const { principal } = worker;
    if (this.#waiting.filter((one) => one.worker.principal === principal).length >= MOST_WAITING) {
      throw tooManyWaiting(principal, MOST_WAITING);
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    const waiting = { worker, wake };
    this.#waiting.push(waiting);
    this.#schedule(LOOK_EVERY_MS);
    const timer = setTimeout(wake, timeoutMs);
    const over = AbortSignal.any([signal, this.#end.signal]);
    over.addEventListener("abort", wake, { once: true });
    if (over.aborted) wake();
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      over.removeEventListener("abort", wake);
      this.#waiting = this.#waiting.filter((one) => one !== waiting);
    }
  }

  #schedule(ms: number): void {
    if (this.#end.signal.aborted || this.#looking !== undefined) return;
    const dueAt = performance.now() + ms;
    if (this.#timer !== undefined && this.#dueAt <= dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#looking = this.#look()
        .catch(() => false)
        .then((wasReady) => {
          this.#looking = undefined;
          if (this.#waiting.length > 0) this.#schedule(wasReady ? SOON_MS : LOOK_EVERY_MS);
        });
    }, ms);
  }

  async #look(): Promise<boolean> {
    const first = new Map<string, Waiting>();
    for (const one of this.#waiting) {
      const { environment, queue } = one.worker;
      const key = `${environment} ${queue}`;
      if (!first.has(key)) first.set(key, one);
    }
    const asked = [...first.values()];
    if (asked.length === 0) return false;
    const ready = await this.#remote.readyQueues(asked.map(({ worker }) => worker));
    for (const [index, { wake }] of asked.entries()) if (ready[index]) wake();
    return ready.includes(true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    clearTimeout(this.#timer);
    await this.#looking;
  }
}
