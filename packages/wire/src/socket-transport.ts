import { create, type DescMessage, type DescMethod, toBinary } from "@bufbuild/protobuf";
import { type CallOptions, HmsError, type Metadata, type Transport } from "@hms/kernel";
import { type CallTerms, callTerms } from "./call-terms.ts";
import { decodeAnswer, type StreamCall } from "./client-call.ts";
import type { ClientConnection } from "./client-connection.ts";
import { Connector, type ConnectorOptions } from "./connector.ts";
import { MAX_DATA_BYTES } from "./frame.ts";
import { metadataFields } from "./metadata-fields.ts";
import { requestPrefix } from "./request-envelope.ts";

/** How a socket transport is set up. */
export interface ConnectSocketOptions {
  /** The server's socket file. */
  readonly path: string;
  /** Goes with every call as `authorization: Bearer …`. */
  readonly token?: string | undefined;
  /** Goes with every call. */
  readonly metadata?: Metadata;
  /** How long a call waits for a server that is away before it fails with UNAVAILABLE; default 0: not at all. */
  readonly waitForReadyMs?: number;
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
class FrameTransport implements SocketTransport {
  readonly path: string;
  readonly #connector: Connector;
  readonly #fixed: Buffer;
  readonly #prefixes = new Map<DescMethod, Buffer>();

  constructor(options: ConnectSocketOptions & Pick<ConnectorOptions, "firstStream">) {
    const { path, token, metadata, waitForReadyMs = 0, firstStream } = options;
    this.path = path;
    this.#fixed = metadataFields({ ...metadata, ...(token ? { authorization: `Bearer ${token}` } : {}) });
    this.#connector = new Connector({ path, waitForReadyMs, firstStream });
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
    let call: NewUnary;
    try {
      const terms = callTerms(options);
      call = { method, prefix: this.#prefix(method), terms, payload: encode(method, input) };
    } catch (error) {
      return Promise.reject(HmsError.from(error));
    }
    const open = this.#connector.current;
    const answer = open?.usable && !call.terms.signal?.aborted ? open.unary(call) : this.#unaryLater(call);
    return answer as never;
  }

  async #unaryLater(call: NewUnary): Promise<unknown> {
    const connection = await this.#connector.get(call.terms);
    return connection.unary(call);
  }

  async *stream(method: DescMethod, inputs: AsyncIterable<unknown>, options?: CallOptions): AsyncGenerator<never> {
    const terms = callTerms(options);
    const single = method.methodKind === "server_streaming";
    const payload = single ? encode(method, await firstOf(inputs)) : undefined;
    const connection = await this.#connector.get(terms);
    const call = connection.open({ method, prefix: this.#prefix(method), terms, payload });
    if (!single) void pump({ connection, call, method }, inputs);
    try {
      for (;;) {
        const message = await call.inbound.take();
        if (message === undefined) return;
        yield decodeAnswer(method, message) as never;
      }
    } finally {
      connection.leave(call);
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

interface NewUnary {
  method: DescMethod;
  prefix: Buffer;
  terms: CallTerms;
  payload: Uint8Array;
}

/** The envelope of a request needs some of the frame too. */
const ENVELOPE_BYTES = 128 * 1024;

function encode(method: DescMethod, input: unknown): Uint8Array {
  const desc = method.input;
  let payload: Uint8Array;
  try {
    const whole = "$typeName" in (input as object) ? input : create(desc, input as never);
    payload = toBinary(desc, whole as never);
  } catch (cause) {
    throw new HmsError("INVALID_ARGUMENT", `The request is no ${desc.typeName}: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (payload.length <= MAX_DATA_BYTES - ENVELOPE_BYTES) return payload;
  throw new HmsError(
    "RESOURCE_EXHAUSTED",
    `The request has ${payload.length} bytes; at most ${MAX_DATA_BYTES - ENVELOPE_BYTES} can travel in one message. Send less.`,
  );
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

/** Sends a stream's messages; if they fail, so does the call. */
async function pump({ connection, call, method }: Outgoing, inputs: AsyncIterable<unknown>): Promise<void> {
  try {
    for await (const input of inputs) {
      if (call.finished) return;
      await connection.sendMessage(call, encode(method, input));
    }
    connection.sendEnd(call);
  } catch (error) {
    connection.breakOff(call, HmsError.from(error));
  }
}
