import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { HmsError } from "@hms/kernel";
import { type CallTerms, deadlineError } from "./call-terms.ts";
import { ClientConnection } from "./client-connection.ts";

/** A server whose queue of new connections is full is asked again for this long. */
const FULL_QUEUE_MS = 2_000;
const FIRST_RETRY_MS = 10;
const LAST_RETRY_MS = 500;

/** What a connector is told. */
export interface ConnectorOptions {
  readonly path: string;
  /** How long `get` tries again while the server is away. */
  readonly waitForReadyMs: number;
  /** The first stream id of each connection; default 1. */
  readonly firstStream?: number | undefined;
  readonly keepAliveMs?: number | undefined;
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
        return await this.#connection();
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
    const socket = await openSocket(this.#options.path, this.#closed.signal);
    if (this.#closed.signal.aborted) {
      socket.destroy();
      throw this.#closed.signal.reason;
    }
    const { firstStream, keepAliveMs } = this.#options;
    const connection: ClientConnection = new ClientConnection(socket, {
      firstStream,
      keepAliveMs,
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

async function openSocket(path: string, closed: AbortSignal): Promise<Socket> {
  const giveUpAt = performance.now() + FULL_QUEUE_MS;
  for (;;) {
    closed.throwIfAborted();
    try {
      return await connected(path);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : "";
      if (code !== "EAGAIN" || performance.now() > giveUpAt) throw unreachable(path, code, error);
      await pause(FIRST_RETRY_MS);
    }
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

const WHY: Record<string, string> = {
  ENOENT: "there is no such socket",
  ECONNREFUSED: "nobody listens",
  EAGAIN: "it is too busy to take a connection",
};

function unreachable(path: string, code: string, cause: unknown): HmsError {
  if (code === "EACCES" || code === "EPERM") {
    return new HmsError(
      "PERMISSION_DENIED",
      `This user may not open the socket ${path}: run the command as the user who started the platform.`,
      { cause },
    );
  }
  return new HmsError(
    "UNAVAILABLE",
    `No answer at ${path}: ${WHY[code] ?? code}. Start the platform (hms-sys up), or name the right one (--instance).`,
    { reason: "NOT_CONNECTED", cause },
  );
}
