import { isIP, type LookupFunction } from "node:net";
import type { DescMessage, DescMethod, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type Transport as ConnectTransport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type CallOptions, HmsError, type Metadata, metadataOfFields, outgoingTo, type Transport } from "@hms/kernel";
import { checkServerId, outgoingTerms, type TlsIdentity } from "@hms/wire";
import { connectionLost, fromConnectError } from "./connect-errors.ts";
import { type GrpcAddress, parseGrpcAddress } from "./grpc-address.ts";
import { headerOf } from "./request-metadata.ts";
import { WatchedSessions } from "./watched-sessions.ts";

/** How a transport to a gRPC server is set up. */
export interface ConnectGrpcOptions {
  /** "grpc://host:port", unencrypted, or "grpcs://host:port". */
  readonly address: string;
  /** Who this side is, for grpcs addresses; with `expectedId` the server must be this SPIFFE id. */
  readonly tls?: TlsIdentity & { readonly expectedId?: string | undefined };
  /** Goes with every call as `authorization: Bearer …`, unless its metadata has an authorization of its own. */
  readonly token?: string | undefined;
  /** Goes with every call. */
  readonly metadata?: Metadata;
  /** Asks a server for a sign of life after this long without one while calls wait; default 10 s, 0: never. */
  readonly keepAliveMs?: number;
}

/** Calls by gRPC over HTTP/2; connects on the first call, and again after the connection was lost. */
export interface GrpcTransport extends Transport, AsyncDisposable {
  /** Ends the connection; running calls fail. May be called twice. */
  close(): Promise<void>;
}

/** An answer may be as large as the platform's own. */
const MAX_MESSAGE_BYTES = 4 << 20;
const KEEP_ALIVE_MS = 10_000;

/**
 * Makes a transport to a gRPC server; errors arrive as HmsError with their details. An idle connection does not keep the
 * process alive.
 * @throws HmsError INVALID_ARGUMENT if the address is none, or needs a certificate that is not given
 */
export function connectGrpc(options: ConnectGrpcOptions): GrpcTransport {
  const address = parseGrpcAddress(options.address);
  const baseUrl = `${address.secure ? "https" : "http"}://${address.authority}`;
  const { keepAliveMs = KEEP_ALIVE_MS } = options;
  const ping = keepAliveMs > 0 ? { pingIntervalMs: keepAliveMs, pingTimeoutMs: keepAliveMs } : {};
  const socket = address.secure ? secureOptions(address, options) : {};
  const sessionManager = new WatchedSessions(baseUrl, ping, Object.assign(socket, { lookup }));
  // Between services the processor is scarcer than the network: nothing is compressed.
  const acceptCompression: [] = [];
  const inner = createGrpcTransport({ baseUrl, sessionManager, readMaxBytes: MAX_MESSAGE_BYTES, acceptCompression });
  return new KernelTransport({ inner, sessionManager, address, fixed: fixedMetadata(options) });
}

/** Asked for by each connection anew: what may be connected to changes. */
const lookup: LookupFunction = (name, options, done) => outgoingTo(name).lookup(name, options, done);

function fixedMetadata({ token, metadata }: ConnectGrpcOptions): Metadata {
  return { ...metadata, ...(token ? { authorization: `Bearer ${token}` } : {}) };
}

function secureOptions({ host }: GrpcAddress, { address, tls }: ConnectGrpcOptions) {
  if (tls === undefined) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${address} can only be called with a certificate: give tls {key, cert, ca}.`,
    );
  }
  return {
    // Read anew by each connection, so that rotated certificates are used.
    get key() {
      return tls.key();
    },
    get cert() {
      return tls.cert();
    },
    get ca() {
      return tls.ca();
    },
    minVersion: "TLSv1.3" as const,
    ...(isIP(host) ? {} : { servername: host }),
    checkServerIdentity: (_: string, { subjectaltname }: { subjectaltname?: string }) =>
      checkServerId(subjectaltname, tls.expectedId),
  };
}

interface TransportParts {
  readonly inner: ConnectTransport;
  readonly sessionManager: WatchedSessions;
  readonly address: GrpcAddress;
  /** Metadata of every call. */
  readonly fixed: Metadata;
}

/** Everything a call needs beside its message. */
interface Terms {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
  readonly header: Headers;
}

class KernelTransport implements GrpcTransport {
  readonly #parts: TransportParts;
  #closed = false;

  constructor(parts: TransportParts) {
    this.#parts = parts;
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    options: CallOptions = {},
  ): Promise<MessageShape<O>> {
    const { signal, timeoutMs, header } = this.#terms(options);
    try {
      const answer = await this.#parts.inner.unary(method, signal, timeoutMs, header, input);
      tell(options, answer.header);
      tell(options, answer.trailer);
      return answer.message;
    } catch (error) {
      throw this.#errorOf(error, signal);
    }
  }

  async *stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { input: I; output: O },
    inputs: AsyncIterable<MessageInitShape<I>>,
    options: CallOptions = {},
  ): AsyncGenerator<MessageShape<O>> {
    const terms = this.#terms(options);
    const left = new AbortController();
    const signal = terms.signal ? AbortSignal.any([terms.signal, left.signal]) : left.signal;
    try {
      const answer = await this.#parts.inner.stream(method as never, signal, terms.timeoutMs, terms.header, inputs);
      tell(options, answer.header);
      yield* answer.message as AsyncIterable<MessageShape<O>>;
      tell(options, answer.trailer);
    } catch (error) {
      throw this.#errorOf(error, terms.signal);
    } finally {
      left.abort(new HmsError("CANCELLED", "The caller left the stream."));
    }
  }

  #terms(options: CallOptions): Terms {
    if (this.#closed) throw new HmsError("CANCELLED", "The transport has been closed.");
    const { deadlineAt, signal, metadata } = outgoingTerms(options);
    if (signal?.aborted) throw HmsError.from(signal.reason);
    const { address, fixed } = this.#parts;
    const header = headerOf({ ...fixed, ...metadata });
    if (header.has("authorization") && !address.secure && !address.loopback) {
      const why = "would be readable on its way: use grpcs://, or call without it";
      throw new HmsError("FAILED_PRECONDITION", `A token for grpc://${address.authority} ${why}.`);
    }
    const timeoutMs = deadlineAt === undefined ? undefined : Math.max(1, Math.ceil(deadlineAt - performance.now()));
    return { signal, timeoutMs, header };
  }

  #errorOf(thrown: unknown, signal: AbortSignal | undefined): HmsError {
    if (signal?.aborted) return HmsError.from(signal.reason);
    if (this.#closed) return new HmsError("CANCELLED", "The transport has been closed.");
    return wasCutOff(thrown) ? connectionLost(thrown) : fromConnectError(thrown);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#parts.sessionManager.abort();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** What a server says beside its answers; most callers do not ask. */
function tell({ onMetadata }: CallOptions, said: Headers): void {
  const metadata = onMetadata && metadataOfFields(said);
  if (metadata !== undefined) onMetadata?.(metadata);
}

/** Whether a call that nobody here has cancelled ended with its connection: its stream is reset, or just stops. */
function wasCutOff(thrown: unknown): boolean {
  if (!(thrown instanceof ConnectError) || thrown.isWireError) return false;
  return (
    thrown.code === Code.Canceled || (thrown.code === Code.Internal && thrown.rawMessage.endsWith("missing status"))
  );
}
