import { type DescMessage, type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import { type CallOptions, HmsError, type Metadata, type Transport } from "@hms/kernel";
import { type CallTerms, callTerms } from "./call-terms.ts";
import type { StreamCall } from "./client-call.ts";
import type { ClientConnection, NewCall } from "./client-connection.ts";
import { Connector, type ConnectorOptions } from "./connector.ts";
import type { DialTarget } from "./dial.ts";
import { parseFrameAddress } from "./frame-address.ts";
import { type CodecName, codecs, type MessageCodec } from "./message-codec.ts";
import { metadataFields } from "./metadata-fields.ts";
import { requestPrefix } from "./request-envelope.ts";

/** A server that keeps dying on a call gets it this often. */
const ATTEMPTS = 3;

/** How a transport of frames is set up, wherever it leads. */
export interface FrameTransportOptions {
  /** Goes with every call as `authorization: Bearer …`, unless its metadata has an authorization of its own. */
  readonly token?: string | undefined;
  /** Goes with every call. */
  readonly metadata?: Metadata;
  /**
   * How messages are encoded; default protobuf. JSON is for looking at what travels, and for servers of ours only: others
   * would take it for protobuf.
   */
  readonly codec?: CodecName;
  /**
   * How long a call waits for a server that is away before it fails with UNAVAILABLE; default 0: not at all. Unary calls
   * that a restart of the server interrupts are made again in this time, if their rule allows it.
   */
  readonly waitForReadyMs?: number;
  /**
   * Ends a connection whose server has given no sign of life for twice this long while calls wait. Default on unix
   * sockets 0: never, because a process that dies closes its socket, and one that is merely slow should be left to the
   * calls' deadlines; over the network 10 s. Who sets it says that the server is one of ours, which answers PING.
   */
  readonly keepAliveMs?: number;
  /** True: calls that wait do not keep the process alive, for watches that go on beside its work; default false. */
  readonly background?: boolean;
}

/** How a socket transport is set up. */
export interface ConnectSocketOptions extends FrameTransportOptions {
  /** The server's socket file. */
  readonly path: string;
}

/** How a transport to any address is set up. */
export interface ConnectFramesOptions extends FrameTransportOptions {
  /** "unix:/path", "tcp://127.0.0.1:port" or "tls://host:port". */
  readonly address: string;
  /** Who this side is, for tls addresses; with `expectedId` the server must be this SPIFFE id. */
  readonly tls?: DialTarget["tls"];
}

/** Calls by frames: connects on the first call, and again after the connection was lost. */
export interface SocketTransport extends Transport, AsyncDisposable {
  /** True while connected. */
  readonly connected: boolean;
  /**
   * Resolves once connected, trying again until then.
   * @throws HmsError UNAVAILABLE after `timeoutMs`, PERMISSION_DENIED if this user may not open the socket,
   * UNAUTHENTICATED if a tls server is not the one expected
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
export function connectSocket({ path, ...options }: ConnectSocketOptions): SocketTransport {
  return new FrameTransport({ ...options, target: { address: { kind: "unix", path } } });
}

/**
 * Makes a transport to an address where frames are spoken, otherwise like `connectSocket`.
 * @throws HmsError INVALID_ARGUMENT if the address is none, leaves the machine unencrypted, or needs a certificate that
 * is not given
 */
export function connectFrames({ address, tls, ...options }: ConnectFramesOptions): SocketTransport {
  const parsed = parseFrameAddress(address);
  if (parsed.kind === "tls" && tls === undefined) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${address} can only be called with a certificate: give tls {key, cert, ca}.`,
    );
  }
  return new FrameTransport({ ...options, target: { address: parsed, tls } });
}

const NETWORK_KEEP_ALIVE_MS = 10_000;

/** The transport behind `connectFrames`; its `firstStream` lets tests start near the end of the stream ids. */
export class FrameTransport implements SocketTransport {
  readonly #connector: Connector;
  readonly #waitForReadyMs: number;
  readonly #codec: MessageCodec;
  /** Metadata of every call, without and with the token. */
  readonly #fixed: { plain: Buffer; authorized: Buffer };
  readonly #prefixes = { plain: new Map<DescMethod, Buffer>(), authorized: new Map<DescMethod, Buffer>() };

  constructor(options: FrameTransportOptions & Pick<ConnectorOptions, "firstStream" | "target">) {
    const { target, token, metadata = {}, waitForReadyMs = 0, firstStream, background } = options;
    this.#waitForReadyMs = waitForReadyMs;
    this.#codec = codecs[options.codec ?? "protobuf"];
    const plain = metadataFields(metadata);
    this.#fixed = {
      plain,
      authorized: token ? metadataFields({ ...metadata, authorization: `Bearer ${token}` }) : plain,
    };
    const keepAliveMs = options.keepAliveMs ?? (target.address.kind === "unix" ? 0 : NETWORK_KEEP_ALIVE_MS);
    const ours = target.address.kind === "tls" || options.keepAliveMs !== undefined;
    this.#connector = new Connector({ target, waitForReadyMs, firstStream, keepAliveMs, ours, background });
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
      const payload = this.#codec.encodeRequest(method, input);
      call = { method, prefix: this.#prefix(method, terms), terms, payload, codec: this.#codec };
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
    for (let attempts = 1; ; ) {
      const connection = await this.#connector.get(call.terms, giveUpAt - performance.now());
      try {
        return await connection.unary(call);
      } catch (error) {
        if (attempts === ATTEMPTS || performance.now() >= giveUpAt || !repeatable(call.method, error)) throw error;
        // A call that was not served has not been tried.
        if (!notServed(error)) attempts += 1;
      }
    }
  }

  async *stream(method: DescMethod, inputs: AsyncIterable<unknown>, options?: CallOptions): AsyncGenerator<never> {
    const terms = callTerms(options);
    const single = method.methodKind === "server_streaming";
    const codec = this.#codec;
    const payload = single ? codec.encodeRequest(method, await firstOf(inputs)) : undefined;
    const connection = await this.#connector.get(terms);
    const call = connection.open({ method, prefix: this.#prefix(method, terms), terms, payload, codec });
    const source = single ? undefined : inputs[Symbol.asyncIterator]();
    if (source) void pump({ connection, call, encode: (message) => codec.encodeRequest(method, message) }, source);
    try {
      for (;;) {
        const message = await call.inbound.take();
        if (message === undefined) return;
        yield codec.decodeAnswer(method, message, terms.readAnswer) as never;
      }
    } finally {
      connection.leave(call);
      // Not awaited: a source that waits for something else would hold the caller up.
      source?.return?.()?.catch(() => {});
    }
  }

  #prefix(method: DescMethod, { authorized }: CallTerms): Buffer {
    const variant = authorized ? "plain" : "authorized";
    let prefix = this.#prefixes[variant].get(method);
    if (prefix === undefined) {
      const names = requestPrefix(method.parent.typeName, method.name, this.#codec.id);
      prefix = Buffer.concat([names, this.#fixed[variant]]);
      this.#prefixes[variant].set(method, prefix);
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
  if (notServed(error)) return true;
  if (reason !== "CONNECTION_LOST" && reason !== "INTERRUPTED") return false;
  const { NO_SIDE_EFFECTS, IDEMPOTENT } = ffiOptions.Idempotency;
  const stated = hasOption(method, ffiOptions.rule) ? getOption(method, ffiOptions.rule).idempotency : undefined;
  return stated === NO_SIDE_EFFECTS || stated === IDEMPOTENT;
}

const notServed = (error: unknown) => error instanceof HmsError && error.details.reason === "SERVER_STOPPING";

async function firstOf(inputs: AsyncIterable<unknown>): Promise<unknown> {
  for await (const input of inputs) return input;
  throw new HmsError("INVALID_ARGUMENT", "A call needs a request.");
}

interface Outgoing {
  connection: ClientConnection;
  call: StreamCall;
  encode: (message: unknown) => Uint8Array;
}

/** Sends a stream's messages; if they fail, so does the call. Never rejects. */
async function pump({ connection, call, encode }: Outgoing, inputs: AsyncIterator<unknown>): Promise<void> {
  try {
    for (;;) {
      const next = await inputs.next();
      if (next.done) break;
      if (!(await connection.sendMessage(call, encode(next.value)))) return;
    }
    connection.sendEnd(call);
  } catch (error) {
    connection.giveUp(call, HmsError.from(error));
  }
}
