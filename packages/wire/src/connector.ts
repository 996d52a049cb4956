import { setTimeout as pause } from "node:timers/promises";
import { HmsError } from "@hms/kernel";
import { type CallTerms, deadlineError } from "./call-terms.ts";
import { ClientConnection } from "./client-connection.ts";
import { type DialTarget, dial } from "./dial.ts";

const FIRST_RETRY_MS = 10;
const LAST_RETRY_MS = 500;
/** Longer waits than this overflow Node's timers. */
const LONGEST_TIMER_MS = 2_147_483_647;

/** What a connector is told. */
export interface ConnectorOptions {
  readonly target: DialTarget;
  /** How long `get` tries again while the server is away. */
  readonly waitForReadyMs: number;
  /** The first stream id of each connection; default 1. */
  readonly firstStream?: number | undefined;
  readonly keepAliveMs?: number | undefined;
  /** True if the server is known to be one of ours before it has said HELLO. */
  readonly ours?: boolean | undefined;
  readonly background?: boolean | undefined;
}

/** Keeps one usable connection to a server: opens it when it is needed, and anew when it has become unusable. */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #all = new Set<ClientConnection>();
  readonly #closed = new AbortController();
  #opening: Promise<ClientConnection> | undefined;
  /** The connection that takes calls now. */
  current: ClientConnection | undefined;

  constructor(options: ConnectorOptions) {
    this.#options = options;
  }

  /** A connection for a call; waits for the server as long as options and the call's deadline allow. */
  async get(terms: CallTerms, waitMs = this.#options.waitForReadyMs): Promise<ClientConnection> {
    const patience = Math.min(performance.now() + waitMs, terms.deadlineAt ?? Number.POSITIVE_INFINITY);
    for (let retryMs = FIRST_RETRY_MS; ; retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)) {
      this.#throwIfOver(terms);
      try {
        return this.current?.usable ? this.current : await inTime(this.#connection(), terms);
      } catch (error) {
        const restMs = patience - performance.now();
        if (restMs <= 0 || !isAway(error)) throw error;
        await this.#pause(Math.min(restMs, retryMs * (0.5 + Math.random())), terms.signal);
      }
    }
  }

  #throwIfOver({ signal, deadlineAt }: CallTerms): void {
    if (this.#closed.signal.aborted) throw this.#closed.signal.reason;
    if (signal?.aborted) throw HmsError.from(signal.reason);
    if (deadlineAt !== undefined && deadlineAt <= performance.now()) throw deadlineError();
  }

  async #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const over = signal ? AbortSignal.any([signal, this.#closed.signal]) : this.#closed.signal;
    // What ended the wait is found by the check that follows.
    await pause(ms, undefined, { signal: over }).catch(() => {});
  }

  async #connection(): Promise<ClientConnection> {
    if (this.current?.usable) return this.current;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #open(): Promise<ClientConnection> {
    const socket = await dial(this.#options.target, this.#closed.signal);
    if (this.#closed.signal.aborted) {
      socket.destroy();
      throw this.#closed.signal.reason;
    }
    const { firstStream, keepAliveMs, background } = this.#options;
    const connection: ClientConnection = new ClientConnection(socket, {
      firstStream,
      keepAliveMs,
      ours: this.#options.ours ?? false,
      background,
      onUnusable: () => {
        if (this.current === connection) this.current = undefined;
      },
    });
    this.#all.add(connection);
    socket.once("close", () => this.#all.delete(connection));
    this.current = connection;
    return connection;
  }

  /** Ends all connections and refuses to open more. */
  close(): void {
    const error = new HmsError("CANCELLED", "The transport has been closed.");
    this.#closed.abort(error);
    for (const connection of this.#all) connection.close(error);
  }
}

function isAway(error: unknown): boolean {
  return error instanceof HmsError && error.code === "UNAVAILABLE";
}

/** Waits for a connection as long as a call's deadline and caller do; others may go on waiting for it. */
async function inTime<T>(opening: Promise<T>, { deadlineAt, signal }: CallTerms): Promise<T> {
  if (deadlineAt === undefined && signal === undefined) return opening;
  const over = new AbortController();
  const ends: Promise<never>[] = [];
  if (deadlineAt !== undefined) {
    const waitMs = Math.min(Math.max(deadlineAt - performance.now(), 0), LONGEST_TIMER_MS);
    ends.push(
      pause(waitMs, undefined, { signal: over.signal }).then(() => {
        throw deadlineError();
      }),
    );
  }
  if (signal !== undefined) {
    ends.push(
      new Promise((_, reject) => {
        const stop = () => reject(HmsError.from(signal.reason));
        signal.addEventListener("abort", stop, { once: true, signal: over.signal });
      }),
    );
  }
  // Those that lose the race end with it, and nobody listens to them.
  for (const end of ends) end.catch(() => {});
  try {
    return await Promise.race([opening, ...ends]);
  } finally {
    over.abort();
  }
}
