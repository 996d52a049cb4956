import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { Http2SessionManager } from "@connectrpc/connect-node";

/**
 * Sessions whose calls always end: a server that has said goodbye and then goes away before it has answered closes their
 * streams without an error, of which Connect's client takes no notice.
 */
export class WatchedSessions extends Http2SessionManager {
  override async request(...args: Parameters<Http2SessionManager["request"]>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...args);
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
}
