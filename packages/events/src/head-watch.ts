import { setTimeout as delay } from "node:timers/promises";
import { ChangeSignal } from "@hms/kernel";
import { sql } from "kysely";
import { type EventDatabase, rowsOf } from "./event-database.ts";

const POLL_MS = 250;

/** The last position of the log. */
export async function readHead(database: EventDatabase): Promise<number> {
  const [row] = await rowsOf(database, sql<{ position: number }>`select position::float8 as position from head`);
  return row?.position ?? 0;
}

/**
 * Knows how far the log goes, for all subscriptions of a process: told by the relay of this process at once, by that of
 * another through a hint, and by a look every 250 ms if both fail.
 */
export class HeadWatch implements AsyncDisposable {
  readonly #database: EventDatabase;
  readonly #changes = new ChangeSignal();
  readonly #listeners = new Set<() => void>();
  readonly #end = new AbortController();
  #position = 0;
  #running: Promise<void> | undefined;

  constructor(database: EventDatabase) {
    this.#database = database;
  }

  /** The last position known; everything up to it can be read. */
  get position(): number {
    return this.#position;
  }

  /** The log has grown. */
  advance(position: number): void {
    if (position <= this.#position) return;
    this.#position = position;
    this.#changes.notify();
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` whenever the log has grown. */
  watch(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** Begins to watch, with the first subscription. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** Looks now. @throws HmsError UNAVAILABLE */
  async refresh(): Promise<number> {
    this.advance(await readHead(this.#database));
    return this.#position;
  }

  /** True once the log has grown beyond `position`, false after `timeoutMs`. @throws the signal's reason. */
  async beyond(position: number, signal: AbortSignal, timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (this.#position <= position) {
      const left = deadline - performance.now();
      if (left <= 0) return false;
      await this.#changes.next(signal, left);
    }
    return true;
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    await using stack = new AsyncDisposableStack();
    let isListening = false;
    while (!signal.aborted) {
      try {
        if (!isListening) {
          stack.use(await this.#database.listen("head", (payload) => this.#hinted(payload)));
          isListening = true;
        }
        await this.refresh();
      } catch {
        // The next look comes soon.
      }
      await delay(POLL_MS, undefined, { signal }).catch(() => {});
    }
  }

  #hinted(payload: string | undefined): void {
    const position = Number(payload);
    if (Number.isSafeInteger(position)) this.advance(position);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#running;
  }
}
