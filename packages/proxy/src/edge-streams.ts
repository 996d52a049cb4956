import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  IncomingHttpHeaders,
  OutgoingHttpHeaders,
  ServerHttp2Stream,
} from "node:http2";
import { connect as connectSocket } from "node:net";
import { isPrincipalField } from "./caller.ts";
import { type ClientFacts, nodeHttp2 } from "./http2-frontend.ts";
import { isConnectionField, sendHead, sendInformation, sendTrailers } from "./http2-heads.ts";
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
    let inner: ClientHttp2Stream;
    try {
      inner = this.#connected().request(forwarded(headers, client), { endStream: stream.endAfterHeaders });
    } catch {
      // Something that was received and yet cannot be sent.
      sendHead(stream, { ":status": 400 }, { endStream: true });
      return;
    }
    this.running++;
    inner.on("headers", (informational) => sendInformation(stream, answered(informational)));
    inner.on("response", (response) => {
      if (inner.endAfterHeaders) {
        sendHead(stream, answered(response), { endStream: true });
        return;
      }
      if (!sendHead(stream, answered(response), { waitForTrailers: true })) return;
      let trailers: OutgoingHttpHeaders = {};
      inner.on("trailers", (given) => {
        trailers = answered(given);
      });
      stream.on("wantTrailers", () => sendTrailers(stream, trailers));
      inner.pipe(stream);
    });
    inner.on("error", () => this.#fail(stream));
    inner.on("close", () => {
      this.running--;
      // What the client sent and nobody reads any more would stay as long as its connection.
      if (stream.closed) stream.destroy();
      else if (inner.rstCode !== NO_ERROR) stream.close(inner.rstCode);
    });
    const cancel = () => {
      if (!inner.closed) inner.close(CANCEL);
    };
    // Its end comes only once everything that the client sent is read.
    stream.on("aborted", cancel);
    stream.on("close", cancel);
    if (!stream.endAfterHeaders) stream.pipe(inner);
  }

  #fail(stream: ServerHttp2Stream): void {
    if (stream.headersSent) return;
    const message = encodeURIComponent(this.#absence).replaceAll("%20", " ");
    const fields = { "content-type": "application/grpc", "grpc-status": UNAVAILABLE, "grpc-message": message };
    sendHead(stream, { ":status": 200, ...fields }, { endStream: true });
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

/** An answer's fields as they are sent on: nothing that node:http2 chooses itself, or refuses. */
function answered(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isConnectionField(name) && name !== "te"));
}

function forwarded(headers: IncomingHttpHeaders, { remoteAddress, encrypted }: ClientFacts): OutgoingHttpHeaders {
  const before = headers["x-forwarded-for"];
  const id = headers["x-request-id"];
  const passed = Object.entries(headers).filter(
    ([name, value]) => !isPrincipalField(name) && !isConnectionField(name) && (name !== "te" || value === "trailers"),
  );
  return {
    ...Object.fromEntries(passed),
    "x-forwarded-for": before === undefined ? remoteAddress : `${before}, ${remoteAddress}`,
    "x-forwarded-proto": encrypted ? "https" : "http",
    "x-forwarded-host": headers[":authority"] ?? "",
    "x-request-id": typeof id === "string" && isRequestId(id) ? id : randomHex(32),
  };
}
