import { type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { create, type DescMethod } from "@bufbuild/protobuf";
import {
  answerOrEnd,
  type CallOptions,
  EncodedMessage,
  HmsError,
  type Metadata,
  NOT_OUTGOING,
  outgoingTo,
  SPECIAL_NETWORK,
} from "@hms/kernel";
import { jsonFormat } from "@hms/wire";
import type { Channel } from "./channel.ts";
import { checkMessageBytes, Envelopes, writeEnvelope } from "./connect-envelope.ts";
import { connectError, errorOfStatus } from "./connect-error.ts";

/** How a channel over HTTP is set up. */
export interface ConnectHttpOptions {
  /** "http://host:port" or "https://host:port". */
  readonly address: string;
  /** Goes with every call as `authorization: Bearer …`, unless its metadata has an authorization of its own. */
  readonly token?: string | undefined;
  /** True: calls that wait do not keep the process alive; default false. */
  readonly background?: boolean;
}

/** Calls by the Connect protocol with JSON over HTTP/1.1: what passes proxies, and needs no certificate of ours. */
export function connectHttp(options: ConnectHttpOptions): Channel {
  return new ConnectChannel(options);
}

/** Codes of connections that did not come about. */
const NEVER_SENT: ReadonlySet<string> = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH"]);
const JSON_TYPE = "application/json";
const STREAM_TYPE = "application/connect+json";
const END_OF_STREAM = 2;

class ConnectChannel implements Channel {
  readonly #options: ConnectHttpOptions;
  readonly #closed = new AbortController();

  constructor(options: ConnectHttpOptions) {
    this.#options = options;
  }

  async close(): Promise<void> {
    this.#closed.abort(new HmsError("CANCELLED", "The transport has been closed."));
  }

  async unary(method: DescMethod, input: unknown, options: CallOptions = {}): Promise<never> {
    using ends = this.#ends(options);
    const body = jsonFormat.encode(method.input, whole(method, input));
    const exchange = this.#begin(method, { type: JSON_TYPE, options, ends });
    exchange.request.end(body);
    const response = await exchange.response;
    const content = await contentOf(response, ends);
    if (response.statusCode !== 200) throw errorOfStatus(response.statusCode ?? 0, content);
    return decoded(method, content) as never;
  }

  async *stream(method: DescMethod, inputs: AsyncIterable<unknown>, options: CallOptions = {}): AsyncGenerator<never> {
    using ends = this.#ends(options);
    const exchange = this.#begin(method, { type: STREAM_TYPE, options, ends });
    const source = inputs[Symbol.asyncIterator]();
    void send(exchange.request, source, (input) => jsonFormat.encode(method.input, whole(method, input)));
    try {
      const response = await exchange.response;
      if (response.statusCode !== 200) throw errorOfStatus(response.statusCode ?? 0, await contentOf(response, ends));
      yield* answersOf(method, response, ends);
    } finally {
      exchange.request.destroy();
      source.return?.()?.catch(() => {});
    }
  }

  #ends({ timeoutMs, signal, context }: CallOptions): CallEnds {
    const inherited = context?.deadlineAt === undefined ? undefined : context.deadlineAt - performance.now();
    const leftMs = timeoutMs === undefined ? inherited : Math.min(timeoutMs, inherited ?? timeoutMs);
    const cancelled = signal ?? (context?.cancellable ? context.signal : undefined);
    return new CallEnds(leftMs, [this.#closed.signal, ...(cancelled ? [cancelled] : [])]);
  }

  #begin(method: DescMethod, call: { type: string; options: CallOptions; ends: CallEnds }): Exchange {
    const { address, background } = this.#options;
    const { options, ends, type } = call;
    ends.signal.throwIfAborted();
    const url = new URL(`${address}/${method.parent.typeName}/${method.name}`);
    const headers = { "content-type": type, "connect-protocol-version": "1", ...this.#headers(options, ends) };
    const start = url.protocol === "https:" ? requestHttps : requestHttp;
    const way = this.#wayTo(url.hostname, ends);
    const request = start(url, { method: "POST", headers, signal: ends.signal, ...way });
    if (background) request.on("socket", (socket) => socket.unref());
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      request.once("response", resolve);
      const fail = (error: Error) => reject(this.#failure(error, ends));
      request.on("error", fail);
      answerOrEnd(request, fail);
    });
    // A call that is given up is not waited for.
    response.catch(() => {});
    return { request, response };
  }

  #wayTo(host: string, ends: CallEnds) {
    try {
      return outgoingTo(host);
    } catch (error) {
      throw this.#failure(error as Error, ends);
    }
  }

  #headers({ metadata, context }: CallOptions, { leftMs }: CallEnds): Metadata {
    const carried = context ? { ...context.passedOn(metadata), ...metadata } : { ...metadata };
    const { token } = this.#options;
    return {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...carried,
      ...(leftMs === undefined ? {} : { "connect-timeout-ms": String(Math.max(1, Math.ceil(leftMs))) }),
    };
  }

  #failure(error: Error, ends: CallEnds): HmsError {
    if (ends.signal.aborted) return HmsError.from(ends.signal.reason);
    const code = "code" in error ? String(error.code) : "";
    const { address } = this.#options;
    if (code === SPECIAL_NETWORK || code === NOT_OUTGOING) {
      return new HmsError(
        "UNAVAILABLE",
        `No answer at ${address}: ${error.message}. Correct the address, or its name.`,
        {
          reason: "NOT_CONNECTED",
          cause: error,
        },
      );
    }
    return NEVER_SENT.has(code)
      ? new HmsError(
          "UNAVAILABLE",
          `No answer at ${address}: ${code}. Start what should answer there, or correct the address.`,
          {
            reason: "NOT_CONNECTED",
            cause: error,
          },
        )
      : new HmsError("UNAVAILABLE", `The connection to ${address} broke (${error.message}).`, {
          reason: "CONNECTION_LOST",
          cause: error,
        });
  }
}

interface Exchange {
  readonly request: ClientRequest;
  readonly response: Promise<IncomingMessage>;
}

/** Until when one call may go on. */
class CallEnds implements Disposable {
  readonly leftMs: number | undefined;
  readonly signal: AbortSignal;
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(leftMs: number | undefined, signals: readonly AbortSignal[]) {
    this.leftMs = leftMs;
    const late = new AbortController();
    if (leftMs !== undefined) {
      const error = new HmsError("DEADLINE_EXCEEDED", "The call's deadline has passed.");
      this.#timer = setTimeout(() => late.abort(error), Math.min(Math.max(0, leftMs), 2_147_483_647));
    }
    this.signal = AbortSignal.any([late.signal, ...signals]);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

function whole(method: DescMethod, given: unknown): unknown {
  const input = EncodedMessage.messageOf(given) as object;
  return "$typeName" in input ? input : create(method.input, input as never);
}

async function contentOf(response: IncomingMessage, ends: CallEnds): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response) {
      length += chunk.length;
      checkMessageBytes(length);
      chunks.push(chunk);
    }
  } catch (error) {
    throw brokenAnswer(error, ends);
  }
  return Buffer.concat(chunks);
}

function brokenAnswer(error: unknown, { signal }: CallEnds): HmsError {
  if (error instanceof HmsError) return error;
  if (signal.aborted) return HmsError.from(signal.reason);
  return new HmsError("UNAVAILABLE", "The connection broke while the answer came.", {
    reason: "CONNECTION_LOST",
    cause: error,
  });
}

function decoded(method: DescMethod, content: Uint8Array): unknown {
  try {
    return jsonFormat.decode(method.output, content, true);
  } catch (cause) {
    const what = `${method.parent.typeName}/${method.name}`;
    throw new HmsError("INTERNAL", `The answer of ${what} cannot be read: the two sides have different contracts.`, {
      cause,
    });
  }
}

async function* answersOf(method: DescMethod, response: IncomingMessage, ends: CallEnds): AsyncGenerator<never> {
  const envelopes = new Envelopes();
  try {
    for await (const chunk of response) {
      for (const { flags, data } of envelopes.push(chunk)) {
        if ((flags & END_OF_STREAM) === 0) yield decoded(method, data) as never;
        else return throwIfFailed(data);
      }
    }
  } catch (error) {
    throw brokenAnswer(error, ends);
  }
  throw brokenAnswer(undefined, ends);
}

function throwIfFailed(data: Uint8Array): void {
  const { error } = JSON.parse(Buffer.from(data).toString("utf8")) as { error?: unknown };
  if (error !== undefined) throw connectError(error);
}

/** Sends a stream's messages as fast as they are taken. Never rejects: what goes wrong ends the call. */
async function send(
  request: ClientRequest,
  source: AsyncIterator<unknown>,
  encode: (input: unknown) => Uint8Array,
): Promise<void> {
  try {
    for (let next = await source.next(); !next.done; next = await source.next()) {
      if (request.destroyed) return;
      if (request.write(writeEnvelope(encode(next.value)))) continue;
      await new Promise((resolve) => request.once("drain", resolve).once("close", resolve));
    }
    request.end();
  } catch (error) {
    request.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}
