import { type DescMessage, type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import { type CallOptions, HmsError, type Metadata, type Transport } from "@hms/kernel";
import { callTerms } from "./call-terms.ts";
import type { StreamCall } from "./client-call.ts";
import type { ClientConnection, NewCall } from "./client-connection.ts";
import { Connector, type ConnectorOptions } from "./connector.ts";
import { decodeAnswer, encodeRequest } from "./message-codec.ts";
import { metadataFields } from "./metadata-fields.ts";
import { requestPrefix } from "./request-envelope.ts";

/** A server that keeps dying on a call gets it this often. */
const ATTEMPTS = 3;

/** How a socket transport is set up. */
export interface ConnectSocketOptions {
  /** The server's socket file. */
  readonly path: string;
  /** Goes with every call as `authorization: Bearer …`. */
  readonly token?: string | undefined;
  /** Goes with every call. */
  readonly metadata?: Metadata;
  /**
   * How long a call waits for a server that is away before it fails with UNAVAILABLE; default 0: not at all. Unary calls
   * that a restart of the server interrupts are made again in this time, if their rule allows it.
   */
  readonly waitForReadyMs?: number;
  /**
   * Ends a connection whose server has given no sign of life for twice this long while calls wait; default 0: never,
   * because a process that dies closes its socket, and one that is merely slow should be left to the calls' deadlines.
   */
  readonly keepAliveMs?: number;
}

/** Calls by unix socket: connects on the first call, and again after the connection was lost. */
export interface SocketTransport extends Transport, AsyncDisposable {
  readonly path: string;
  /** True while connected. */
  readonly connected: boolean;
  /**
   * Resolves once connected, trying again until then.
   * @throws HmsError UNAVAILABLE after `timeoutMs`, PERMISSION_DENIED if this user may not open the socket
   */
  ready(timeoutMs: number): Promise<void>;
  /** Ends the connection; running and later calls fail with CANCELLED. May be called twice. */
  close(): Promise<void>;
}

/**
 * Makes a transport to a server's socket; nothing is opened before the first call, and an idle connection does not keep
 * the process alive.
 * @throws HmsError INVALID_ARGUMENT if token and metadata are larger than 64 KiB
 */
export function connectSocket(options: ConnectSocketOptions): SocketTransport {
  return new FrameTransport(options);
}

/** The transport behind `connectSocket`; its `firstStream` lets tests start near the end of the stream ids. */
export class FrameTransport implements SocketTransport {
  readonly path: string;
  readonly #connector: Connector;
  readonly #waitForReadyMs: number;
  readonly #fixed: Buffer;
  readonly #prefixes = new Map<DescMethod, Buffer>();

  constructor(options: ConnectSocketOptions & Pick<ConnectorOptions, "firstStream">) {
    const { path, token, metadata, waitForReadyMs = 0, firstStream, keepAliveMs } = options;
    this.path = path;
    this.#waitForReadyMs = waitForReadyMs;
    this.#fixed = metadataFields({ ...metadata, ...(token ? { authorization: `Bearer ${token}` } : {}) });
    this.#connector = new Connector({ path, waitForReadyMs, firstStream, keepAliveMs });
  }

  get connected(): boolean {
    return this.#connector.current !== undefined;
  }

  async ready(timeoutMs: number): Promise<void> {
    await this.#connector.get(callTerms(undefined), timeoutMs);
  }

  async close(): Promise<void> {
    this.#connector.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  unary<I extends DescMessage, O extends DescMessage>(method: Unary<I, O>, input: unknown, options?: CallOptions) {
    let call: NewCall;
    try {
      const terms = callTerms(options);
      call = { method, prefix: this.#prefix(method), terms, payload: encodeRequest(method, input) };
    } catch (error) {
      return Promise.reject(HmsError.from(error));
    }
    if (call.terms.signal?.aborted) return Promise.reject(HmsError.from(call.terms.signal.reason));
    if (this.#waitForReadyMs > 0) return this.#patientUnary(call) as never;
    const open = this.#connector.current;
    return (open?.usable ? open.unary(call) : this.#unaryLater(call)) as never;
  }

  async #unaryLater(call: NewCall): Promise<unknown> {
    const connection = await this.#connector.get(call.terms);
    return connection.unary(call);
  }

  /** A call that outlives a server's restart, where repeating it does no harm. */
  async #patientUnary(call: NewCall): Promise<unknown> {
    const giveUpAt = performance.now() + this.#waitForReadyMs;
    for (let attempt = 1; ; attempt += 1) {
      const connection = await this.#connector.get(call.terms, giveUpAt - performance.now());
      try {
        return await connection.unary(call);
      } catch (error) {
        if (attempt === ATTEMPTS || performance.now() >= giveUpAt || !repeatable(call.method, error)) throw error;
      }
    }
  }

  async *stream(method: DescMethod, inputs: AsyncIterable<unknown>, options?: CallOptions): AsyncGenerator<never> {
    const terms = callTerms(options);
    const single = method.methodKind === "server_streaming";
    const payload = single ? encodeRequest(method, await firstOf(inputs)) : undefined;
    const connection = await this.#connector.get(terms);
    const call = connection.open({ method, prefix: this.#prefix(method), terms, payload });
    const source = single ? undefined : inputs[Symbol.asyncIterator]();
    if (source) void pump({ connection, call, method }, source);
    try {
      for (;;) {
        const message = await call.inbound.take();
        if (message === undefined) return;
        yield decodeAnswer(method, message) as never;
      }
    } finally {
      connection.leave(call);
      // Not awaited: a source that waits for something else would hold the caller up.
      source?.return?.()?.catch(() => {});
    }
  }

  #prefix(method: DescMethod): Buffer {
    let prefix = this.#prefixes.get(method);
    if (prefix === undefined) {
      prefix = Buffer.concat([requestPrefix(method.parent.typeName, method.name), this.#fixed]);
      this.#prefixes.set(method, prefix);
    }
    return prefix;
  }
}

type Unary<I, O> = Parameters<Transport["unary"]>[0] & { input: I; output: O };

/**
 * True if a call may be made again: it never reached a handler, or doing it twice is the same as doing it once.
 */
function repeatable(method: DescMethod, error: unknown): boolean {
  if (!(error instanceof HmsError) || error.code !== "UNAVAILABLE") return false;
  const { reason } = error.details;
  if (reason === "SERVER_STOPPING") return true;
  if (reason !== "CONNECTION_LOST" && reason !== "INTERRUPTED") return false;
  const { NO_SIDE_EFFECTS, IDEMPOTENT } = ffiOptions.Idempotency;
  const stated = hasOption(method, ffiOptions.rule) ? getOption(method, ffiOptions.rule).idempotency : undefined;
  return stated === NO_SIDE_EFFECTS || stated === IDEMPOTENT;
}

async function firstOf(inputs: AsyncIterable<unknown>): Promise<unknown> {
  for await (const input of inputs) return input;
  throw new HmsError("INVALID_ARGUMENT", "A call needs a request.");
}

interface Outgoing {
  connection: ClientConnection;
  call: StreamCall;
  method: DescMethod;
}

/** Sends a stream's messages; if they fail, so does the call. Never rejects. */
async function pump({ connection, call, method }: Outgoing, inputs: AsyncIterator<unknown>): Promise<void> {
  try {
    for (;;) {
      const next = await inputs.next();
      if (next.done) break;
      if (!(await connection.sendMessage(call, encodeRequest(method, next.value)))) return;
    }
    connection.sendEnd(call);
  } catch (error) {
    connection.giveUp(call, HmsError.from(error));
  }
}
