import { setTimeout as delay } from "node:timers/promises";
import { type ClientConfig, escapeIdentifier } from "pg";
import { type Connection, openConnection } from "./admin-connection.ts";

/**
 * Told that something may have changed. `payload` is undefined after a reconnection, when messages may have been missed:
 * a notification is a hint to look, never the fact itself.
 */
export type ChannelHandler = (payload: string | undefined) => void;

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

/** Listens on any number of channels over one connection, opened with the first and reopened whenever it breaks. */
export class ChannelListener implements AsyncDisposable {
  readonly #config: () => ClientConfig;
  readonly #handlers = new Map<string, Set<ChannelHandler>>();
  readonly #closed = new AbortController();
  #connection: Connection | undefined;
  #opening: Promise<void> | undefined;
  #running: Promise<void> | undefined;

  constructor(config: () => ClientConfig) {
    this.#config = config;
  }

  /** Resolves once the server will notify us. @throws HmsError if it cannot be reached the first time. */
  async listen(channel: string, handler: ChannelHandler): Promise<AsyncDisposable> {
    const known = this.#handlers.get(channel) ?? new Set();
    this.#handlers.set(channel, known.add(handler));
    try {
      const isFirst = this.#opening === undefined;
      this.#opening ??= this.#begin();
      await this.#opening;
      // Without a connection the next one listens on every channel known by then.
      if (!isFirst) await this.#connection?.query(`LISTEN ${escapeIdentifier(channel)}`);
    } catch (error) {
      this.#forget(channel, handler);
      throw error;
    }
    return { [Symbol.asyncDispose]: async () => this.#forget(channel, handler) };
  }

  /** The server keeps notifying of a channel nobody handles until the connection ends; that costs next to nothing. */
  #forget(channel: string, handler: ChannelHandler): void {
    const handlers = this.#handlers.get(channel);
    handlers?.delete(handler);
    if (handlers?.size === 0) this.#handlers.delete(channel);
  }

  async #begin(): Promise<void> {
    try {
      this.#running = this.#stayConnected(await this.#open());
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
  }

  async #open(): Promise<Connection> {
    const connection = await openConnection(this.#config());
    connection.client.on("notification", ({ channel, payload }) => {
      for (const handler of this.#handlers.get(channel) ?? []) handler(payload ?? "");
    });
    try {
      for (const channel of this.#handlers.keys()) await connection.query(`LISTEN ${escapeIdentifier(channel)}`);
    } catch (error) {
      await connection[Symbol.asyncDispose]();
      throw error;
    }
    this.#connection = connection;
    return connection;
  }

  async #stayConnected(first: Connection): Promise<void> {
    let connection = first;
    while (!this.#closed.signal.aborted) {
      await whenAborted(AbortSignal.any([connection.lost, this.#closed.signal]));
      this.#connection = undefined;
      await connection[Symbol.asyncDispose]();
      const next = await this.#reopen();
      if (!next) return;
      connection = next;
      for (const handlers of this.#handlers.values()) for (const handler of handlers) handler(undefined);
    }
    await connection[Symbol.asyncDispose]();
  }

  async #reopen(): Promise<Connection | undefined> {
    for (let pause = FIRST_PAUSE_MS; !this.#closed.signal.aborted; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        return await this.#open();
      } catch {
        // Whatever it is (starting, password being changed, network), it is tried again until we are closed.
        await delay(pause, undefined, { signal: this.#closed.signal }).catch(() => {});
      }
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    // Whoever asked to listen has been told of a failure.
    await this.#opening?.catch(() => {});
    await this.#running;
  }
}

function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
