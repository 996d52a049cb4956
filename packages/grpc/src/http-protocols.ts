import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttp2, type ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import type { Credentials } from "@hms/kernel";
import { callersOf, type OtherProtocols, type PeerCallers } from "@hms/wire";
import type { HttpRequest } from "./http-messages.ts";

/** Calls that one connection may have running, as with frames. */
const MAX_STREAMS = 1024;
/** The largest head of a request, bytes. */
const MAX_HEAD_BYTES = 32 * 1024;
const HEAD_TIMEOUT_MS = 10_000;
const IDLE_TIMEOUT_MS = 75_000;

/** How long clients may take. */
export interface HttpPatience {
  /** For the head of a request; default 10 s. */
  readonly headTimeoutMs?: number;
  /** Between requests: an idle connection is ended after that; default 75 s. */
  readonly idleTimeoutMs?: number;
}

/** What is known of the connection that a request came on. */
export interface HttpConnection {
  readonly callers: PeerCallers;
  /** Aborts when the server stops: calls that never end by themselves end with it. */
  readonly stop: AbortSignal;
}

type Listener = (request: IncomingMessage, response: ServerResponse) => unknown;

const NEVER = new AbortController().signal;
const connections = new WeakMap<object, HttpConnection>();

/** The connection of a request, whichever server it came by. */
export function connectionOf(request: HttpRequest): HttpConnection {
  const key = "stream" in request ? request.stream.session : request.socket;
  const known = key && connections.get(key);
  // Sockets of HTTP/2 are stand-ins, which nothing is remembered of; a listener of its own comes by the network.
  return known ?? { callers: callersOf(request.socket as Socket), stop: NEVER };
}

/** What a request's connection has shown by itself: a certificate, or nothing. */
export function peerOf(request: HttpRequest): PeerCredentials {
  const caller = connectionOf(request).callers.of(undefined);
  return "credentials" in caller ? caller.credentials : {};
}

/** What is known of a connection whatever its requests show. */
export type PeerCredentials = Pick<Credentials, "peer" | "known">;

/**
 * Answers HTTP/1.1 and HTTP/2 on the connections of a frame server by one listener. When the server stops, running
 * requests are finished and calls that only read are ended.
 */
export function httpProtocols(listener: Listener, patience: HttpPatience = {}): Required<OtherProtocols> {
  const { headTimeoutMs = HEAD_TIMEOUT_MS, idleTimeoutMs = IDLE_TIMEOUT_MS } = patience;
  return {
    http1: overHttp1(listener, { headTimeoutMs, idleTimeoutMs }),
    http2: overHttp2(listener, { idleTimeoutMs }),
  };
}

/** The life of one connection. */
class Connection implements HttpConnection {
  readonly callers: PeerCallers;
  readonly #stopping = new AbortController();

  constructor(socket: Socket) {
    this.callers = callersOf(socket);
  }

  get stop(): AbortSignal {
    return this.#stopping.signal;
  }

  leave(): void {
    this.#stopping.abort();
  }
}

function overHttp1(
  listener: Listener,
  { headTimeoutMs, idleTimeoutMs }: Required<HttpPatience>,
): Required<OtherProtocols>["http1"] {
  const running = new WeakMap<Socket, number>();
  const server = createHttp1({
    maxHeaderSize: MAX_HEAD_BYTES,
    headersTimeout: headTimeoutMs,
    connectionsCheckingInterval: Math.min(1000, headTimeoutMs),
    // Streams last as long as they like.
    requestTimeout: 0,
    keepAliveTimeout: idleTimeoutMs,
  });
  // Bytes are the limit; node:http would drop fields beyond a number of them without a word.
  server.maxHeadersCount = 0;
  // It never listens itself, and Node looks after late heads from then on only.
  server.emit("listening");
  server.on("request", (request, response) => {
    const { socket } = request;
    running.set(socket, (running.get(socket) ?? 0) + 1);
    response.once("close", () => {
      running.set(socket, (running.get(socket) ?? 1) - 1);
      if (connections.get(socket)?.stop.aborted) socket.end();
    });
    listener(request, response);
  });
  server.on("clientError", (_, socket) => socket.destroy());
  return (socket) => {
    const connection = new Connection(socket);
    connections.set(socket, connection);
    server.emit("connection", socket);
    return () => {
      connection.leave();
      if ((running.get(socket) ?? 0) === 0) socket.end();
    };
  };
}

function overHttp2(
  listener: Listener,
  { idleTimeoutMs }: Pick<Required<HttpPatience>, "idleTimeoutMs">,
): Required<OtherProtocols>["http2"] {
  let arriving: { connection: Connection; session?: ServerHttp2Session } | undefined;
  const settings = { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: MAX_HEAD_BYTES };
  const server = createHttp2({ settings }, listener as never);
  server.on("session", (session) => {
    closeIfIdle(session, idleTimeoutMs);
    if (arriving === undefined) return;
    arriving.session = session;
    connections.set(session, arriving.connection);
  });
  // A broken session ends with its socket.
  server.on("sessionError", () => {});
  return (socket) => {
    const connection = new Connection(socket);
    arriving = { connection };
    server.emit("connection", socket);
    const { session } = arriving;
    arriving = undefined;
    return () => {
      connection.leave();
      if (session === undefined) socket.end();
      else session.close();
    };
  };
}

/** Ends a session on which nothing has run for a while; its client connects again when it needs to. */
function closeIfIdle(session: ServerHttp2Session, afterMs: number): void {
  let running = 0;
  session.on("stream", (stream) => {
    running += 1;
    stream.once("close", () => (running -= 1));
  });
  session.setTimeout(afterMs, () => {
    if (running === 0) session.close();
  });
}
