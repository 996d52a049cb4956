import type { ClientHttp2Session, IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { connect as connectSocket } from "node:net";
import { isPrincipalField } from "./caller.ts";
import { type ClientFacts, nodeHttp2 } from "./http2-frontend.ts";
import { isRequestId, randomHex } from "./trace-ids.ts";

const UNAVAILABLE = 14;
/** RFC 9113 §7. */
const NO_ERROR = 0;
const CANCEL = 8;

/** Carries calls by HTTP/2, with their trailers, to the platform's own edge; one connection is shared by all. */
export class EdgeStreams {
  readonly #socketPath: string;
  readonly #absence: string;
  #session: ClientHttp2Session | undefined;
  /** Streams that have not ended. */
  running = 0;

  constructor(socketPath: string, absence: string) {
    this.#socketPath = socketPath;
    this.#absence = absence;
  }

  /** Answers a client's stream with what the edge answers; if that is away, with gRPC's UNAVAILABLE. */
  carry(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, client: ClientFacts): void {
    const inner = this.#connected().request(forwarded(headers, client), { endStream: stream.endAfterHeaders });
    this.running++;
    inner.on("headers", (informational) => {
      if (!stream.headersSent && !stream.destroyed) stream.additionalHeaders(plain(informational));
    });
    inner.on("response", (response) => {
      if (stream.destroyed) return;
      if (inner.endAfterHeaders) {
        stream.respond(plain(response), { endStream: true });
        return;
      }
      stream.respond(plain(response), { waitForTrailers: true });
      let trailers: OutgoingHttpHeaders = {};
      inner.on("trailers", (given) => {
        trailers = plain(given);
      });
      stream.on("wantTrailers", () => stream.sendTrailers(trailers));
      inner.pipe(stream);
    });
    inner.on("error", () => this.#fail(stream));
    inner.on("close", () => {
      this.running--;
      if (inner.rstCode !== NO_ERROR) stream.close(inner.rstCode);
    });
    stream.on("close", () => {
      if (!inner.closed) inner.close(CANCEL);
    });
    if (!stream.endAfterHeaders) stream.pipe(inner);
  }

  #fail(stream: ServerHttp2Stream): void {
    if (stream.destroyed || stream.headersSent) return;
    const message = encodeURIComponent(this.#absence).replaceAll("%20", " ");
    const fields = { "content-type": "application/grpc", "grpc-status": UNAVAILABLE, "grpc-message": message };
    stream.respond({ ":status": 200, ...fields }, { endStream: true });
  }

  #connected(): ClientHttp2Session {
    if (this.#session && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const session = nodeHttp2().connect("http://localhost", {
      createConnection: () => connectSocket(this.#socketPath),
    });
    // Every stream of it hears of it.
    session.on("error", () => {});
    session.on("goaway", () => this.#forget(session));
    session.on("close", () => this.#forget(session));
    this.#session = session;
    return session;
  }

  #forget(session: ClientHttp2Session): void {
    if (this.#session === session) this.#session = undefined;
  }

  /** Cuts everything; whoever waits is told that it is away. */
  close(): void {
    this.#session?.destroy(new Error("cut"));
    this.#session = undefined;
  }
}

/** Fields as they are sent on: nothing that node:http2 wants to choose itself. */
function plain(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const { ...fields } = headers as OutgoingHttpHeaders;
  return fields;
}

function forwarded(headers: IncomingHttpHeaders, { remoteAddress, encrypted }: ClientFacts): OutgoingHttpHeaders {
  const before = headers["x-forwarded-for"];
  const id = headers["x-request-id"];
  const passed = Object.entries(plain(headers)).filter(([name]) => !isPrincipalField(name));
  return {
    ...Object.fromEntries(passed),
    "x-forwarded-for": before === undefined ? remoteAddress : `${before}, ${remoteAddress}`,
    "x-forwarded-proto": encrypted ? "https" : "http",
    "x-forwarded-host": headers[":authority"] ?? "",
    "x-request-id": typeof id === "string" && isRequestId(id) ? id : randomHex(32),
  };
}
