import { Client, type ClientConfig } from "pg";

/** A connection that a query waits on. */
export interface WaitingConnection {
  /** When its query began, in `performance.now()` milliseconds. */
  readonly since: number;
  /** Breaks it: whoever waits hears that it is lost. */
  cut(): void;
}

/** A query is given this long before anybody wonders. */
const SLOW_MS = 5000;
const EVERY_MS = 1000;
/** What is not answered so long after the server's own limit for statements has no connection any more. */
const GRACE_MS = 2000;
/** A server that lives lets in, or refuses, within this time. */
const PATIENCE_MS = 5000;

/**
 * Finds out that a server is there but says nothing, as one that was stopped or whose network has gone: it keeps no limit for
 * statements then. While a query has waited for 5 s a new connection is tried; if nothing comes of that for another 5 s, what
 * waits is cut. A server that is merely slow lets connections in. A single connection that is half open, dead without either
 * side having been told, is found by the server's limit for statements (`statement_timeout`): what waits for 2 s longer is cut.
 */
export class PoolPulse {
  readonly #waiting = new Set<WaitingConnection>();
  readonly #settings: ClientConfig;
  readonly #longestMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isAsking = false;

  constructor(settings: ClientConfig) {
    const limitMs = Number(settings.statement_timeout || Number.POSITIVE_INFINITY);
    this.#longestMs = limitMs + GRACE_MS;
    this.#settings = { ...settings, connectionTimeoutMillis: PATIENCE_MS };
  }

  /** Watches a query until the result is called. */
  watch(connection: WaitingConnection): () => void {
    this.#waiting.add(connection);
    this.#timer ??= setInterval(() => this.#look(), EVERY_MS).unref();
    return () => void this.#waiting.delete(connection);
  }

  #look(): void {
    const longestMs = this.#longestMs;
    for (const connection of [...this.#waiting]) if (performance.now() - connection.since > longestMs) connection.cut();
    const slow = [...this.#waiting].some(({ since }) => performance.now() - since > SLOW_MS);
    if (!slow || this.#isAsking) return;
    this.#isAsking = true;
    void this.#ask().finally(() => {
      this.#isAsking = false;
    });
  }

  async #ask(): Promise<void> {
    const began = performance.now();
    if (!(await this.#isSilent())) return;
    for (const connection of [...this.#waiting]) if (connection.since < began) connection.cut();
  }

  async #isSilent(): Promise<boolean> {
    const client = new Client(this.#settings);
    client.on("error", () => {});
    try {
      await client.connect();
      return false;
    } catch (error) {
      // A full queue of new connections is one that nobody takes from; whatever else is said is a sign of life.
      return error instanceof Error && (/timeout/.test(error.message) || ("code" in error && error.code === "EAGAIN"));
    } finally {
      // Not waited for: a silent server does not take leave either.
      void client.end().catch(() => {});
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
