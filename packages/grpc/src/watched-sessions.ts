import { type ClientHttp2Stream, constants, type Http2Session, type IncomingHttpHeaders } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { Http2SessionManager } from "@connectrpc/connect-node";
import { outgoingTo } from "@hms/kernel";

/**
 * Sessions whose calls always end: a server that has said goodbye and then goes away before it has answered closes their
 * streams without an error, of which Connect's client takes no notice. One that does not speak HTTP/2 ends its calls, and
 * nothing else.
 */
export class WatchedSessions extends Http2SessionManager {
  readonly #heard = new WeakSet<Http2Session>();
  readonly #host: string;

  constructor(...args: ConstructorParameters<typeof Http2SessionManager>) {
    super(...args);
    this.#host = new URL(args[0]).hostname;
  }

  override async request(...args: Parameters<Http2SessionManager["request"]>): Promise<ClientHttp2Stream> {
    this.#assertOutgoing();
    const stream = await super.request(...args);
    // The client leaves a session that broke before it says so, and an error that nobody hears ends the process.
    if (stream.session && !this.#heard.has(stream.session)) {
      this.#heard.add(stream.session);
      stream.session.on("error", () => {});
    }
    let answered = false;
    const look = (headers: IncomingHttpHeaders) => {
      answered ||= headers["grpc-status"] !== undefined;
    };
    stream.on("response", look);
    stream.on("trailers", look);
    stream.once("close", () => {
      if (answered || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return;
      stream.emit("error", new ConnectError("the connection ended without an answer", Code.Canceled));
    });
    return stream;
  }

  /** An address in digits is not looked up, so nobody else would ask whether it may be connected to. */
  #assertOutgoing(): void {
    try {
      outgoingTo(this.#host);
    } catch (error) {
      throw new ConnectError((error as Error).message, Code.Unavailable, undefined, undefined, error);
    }
  }
}
