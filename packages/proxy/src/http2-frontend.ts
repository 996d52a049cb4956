import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type ClientCertificate, clientCertificateOf } from "./client-certificate.ts";
import { isConnectionField, sendHead, sendInformation } from "./http2-heads.ts";
import { PairedSocket } from "./socket-pair.ts";

/** What HTTP/2 connections are served with. */
export interface Http2Terms {
  /** Answers HTTP/1.1 on a connection within this process. */
  serveHttp1(socket: PairedSocket): void;
  /** Takes a request that only HTTP/2 can carry; false: it is none of those. */
  serveNative(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, client: ClientFacts): boolean;
  readonly maxHeadBytes: number;
  readonly idleTimeoutMs: number;
}

/** What is known of a client whose connection speaks HTTP/2. */
export interface ClientFacts {
  readonly remoteAddress: string;
  readonly localAddress: string;
  readonly encrypted: boolean;
  readonly clientCertificate: ClientCertificate | null;
}

/** Node's HTTP/2, loaded when the first client speaks it: 20 ms and 9 MB that most data planes never need. */
export const nodeHttp2 = () => process.getBuiltinModule("node:http2");

/** Requests that one connection may have running. */
const MAX_STREAMS = 128;
/** Memory that one connection may hold, in MB. */
const SESSION_MEMORY_MB = 4;
/** Whether a field belongs to a connection of HTTP/1.1, or HTTP/2 says it otherwise. */
const isNotPassed = (name: string) => isConnectionField(name) || name === "expect" || name === "host";
const NO_BODY = new Set(["GET", "HEAD", "DELETE", "OPTIONS"]);

/**
 * Serves clients that speak HTTP/2: Node's own implementation faces them, and each request goes on as one of HTTP/1.1 to
 * the server that answers those, so that every rule is in one place. It costs a second parsing, on these connections only.
 */
export class Http2Frontend {
  readonly #terms: Http2Terms;
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();

  constructor(terms: Http2Terms) {
    this.#terms = terms;
    this.#server = nodeHttp2().createServer({
      settings: { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: terms.maxHeadBytes, enablePush: false },
      maxSessionMemory: SESSION_MEMORY_MB,
      maxSendHeaderBlockLength: terms.maxHeadBytes * 2,
      unknownProtocolTimeout: 10_000,
    });
    this.#server.on("session", (session) => this.#onSession(session));
    // A broken session ends with its socket.
    this.#server.on("sessionError", () => {});
  }

  /** Serves a connection; bytes that were read of it already have been put back. */
  accept(socket: Socket): void {
    this.#server.emit("connection", socket);
  }

  get connections(): number {
    return this.#sessions.size;
  }

  /** Tells clients to send nothing new here; what runs is finished. */
  retire(): void {
    for (const session of this.#sessions) session.close();
  }

  /** Cuts what still runs. */
  cut(): void {
    for (const session of this.#sessions) session.destroy();
  }

  #onSession(session: ServerHttp2Session): void {
    const { socket } = session;
    const address = socket.remoteAddress ?? "unknown";
    const client = {
      remoteAddress: address,
      localAddress: socket.localAddress ?? "",
      encrypted: "encrypted" in socket && socket.encrypted === true,
      clientCertificate: clientCertificateOf(socket as Socket),
    };
    const agent = new Agent({ keepAlive: true, maxSockets: MAX_STREAMS, maxFreeSockets: 4 });
    agent.createConnection = (_, done) => {
      const pair = PairedSocket.create(client);
      this.#terms.serveHttp1(pair.server);
      done?.(null, pair.client as Duplex as never);
      return undefined as never;
    };
    this.#sessions.add(session);
    session.setTimeout(this.#terms.idleTimeoutMs, () => session.close());
    session.on("stream", (stream, headers) => this.#onStream(stream, headers, { agent, client }));
    session.on("close", () => {
      this.#sessions.delete(session);
      agent.destroy();
    });
  }

  #onStream(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    { agent, client }: { agent: Agent; client: ClientFacts },
  ): void {
    // A stream that is reset ends what it began; there is nothing more to tell anybody.
    stream.on("error", () => {});
    if (headers[":method"] === "CONNECT") {
      sendHead(stream, { ":status": 405 }, { endStream: true });
      return;
    }
    if (!this.#terms.serveNative(stream, headers, client)) carry(stream, headers, agent);
  }
}

function carry(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, agent: Agent): void {
  const method = headers[":method"] ?? "GET";
  const hasBody = !stream.endAfterHeaders;
  let inner: ClientRequest;
  try {
    inner = request({
      agent,
      method,
      path: headers[":path"] ?? "/",
      headers: fieldsOf(headers, method, hasBody),
      setHost: false,
    });
  } catch {
    // A target or value that HTTP/1.1 has no way to say.
    sendHead(stream, { ":status": 400 }, { endStream: true });
    return;
  }
  inner.on("information", ({ statusCode, rawHeaders }) => {
    if (statusCode !== 100) sendInformation(stream, { ":status": statusCode, ...collected(rawHeaders) });
  });
  inner.on("response", (response) => answer(stream, response));
  inner.on("error", () => {
    if (stream.headersSent) cut(stream);
    else sendHead(stream, { ":status": 502 }, { endStream: true });
  });
  // Its end comes only once everything that the client sent is read.
  stream.on("aborted", () => inner.destroy());
  stream.on("close", () => inner.destroy());
  if (hasBody) stream.pipe(inner);
  else inner.end();
}

/** Ends an answer that is not whole; `close` with the same code would first say that it is. */
function cut(stream: ServerHttp2Stream): void {
  stream.destroy(new Error("The answer broke off."));
}

function fieldsOf(headers: IncomingHttpHeaders, method: string, hasBody: boolean): string[] {
  const fields = ["host", headers[":authority"] ?? headers.host ?? ""];
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(":") || isNotPassed(name) || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) fields.push(name, one);
  }
  const needsFraming = hasBody && headers["content-length"] === undefined;
  if (needsFraming) fields.push("transfer-encoding", "chunked");
  else if (!hasBody && headers["content-length"] === undefined && !NO_BODY.has(method))
    fields.push("content-length", "0");
  return fields;
}

function answer(stream: ServerHttp2Stream, response: IncomingMessage): void {
  const fields = collected(response.rawHeaders);
  if (!sendHead(stream, { ...fields, ":status": response.statusCode ?? 502 })) {
    response.resume();
    return;
  }
  response.on("error", () => cut(stream));
  response.pipe(stream);
}

/** Node's flat list of an answer's fields, without those of a connection. */
function collected(raw: readonly string[]): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    const value = raw[i + 1] as string;
    if (isNotPassed(name) || name === "te") continue;
    const before = fields[name];
    if (before === undefined) fields[name] = value;
    else if (SINGLE.has(name)) continue;
    else fields[name] = Array.isArray(before) ? [...before, value] : [before, value];
  }
  return fields;
}

/** Fields of which node:http2 sends one only; a service that sends two has made a mistake. */
const SINGLE = new Set(
  "age authorization access-control-allow-credentials access-control-max-age access-control-request-method content-encoding content-language content-length content-location content-md5 content-range content-type date dnt etag expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards proxy-authorization range referer retry-after tk upgrade-insecure-requests user-agent x-content-type-options".split(
    " ",
  ),
);
