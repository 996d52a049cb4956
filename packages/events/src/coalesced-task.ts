import { setTimeout as delay } from "node:timers/promises";

/**
 * Runs a task at most once per interval: asked for, it runs at once; what is asked for during a pause runs together
 * behind it. A run that fails counts as done: whoever needs it asks again.
 */
export class CoalescedTask implements AsyncDisposable {
  readonly #task: () => Promise<void>;
  readonly #intervalMs: number;
  readonly #end = new AbortController();
  #wanted = false;
  #running: Promise<void> | undefined;

  constructor(task: () => Promise<void>, intervalMs: number) {
    this.#task = task;
    this.#intervalMs = intervalMs;
  }

  /** Asks for a run; returns at once. */
  request(): void {
    if (this.#end.signal.aborted) return;
    this.#wanted = true;
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    while (this.#wanted && !signal.aborted) {
      this.#wanted = false;
      await this.#task().catch(() => {});
      await delay(this.#intervalMs, undefined, { signal }).catch(() => {});
    }
    this.#running = undefined;
  }

  /** Waits for the present run; nothing runs afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#running;
  }
}
