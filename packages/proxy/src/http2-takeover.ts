import type { Socket } from "node:net";

/** What node:http keeps of a connection that it parses; none of it has a public name. */
interface ParsedSocket extends Socket {
  parser?: HttpParser | null;
  _handle?: { _consumed?: boolean } | null;
}

interface HttpParser {
  _consumed: boolean;
  unconsume(): void;
  /** Takes it off the list of connections whose heads are late. */
  remove(): void;
  close(): void;
}

/** What node:http says with `clientError` of bytes that it cannot parse. */
export interface ParseError extends NodeJS.ErrnoException {
  bytesParsed?: number;
  rawPacket?: Buffer;
}

/** How a connection of HTTP/2 begins (RFC 9113 §3.4); Node's parser recognises all of it. */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const LISTENED = ["data", "end", "close", "drain", "error", "timeout", "pause", "resume"];

/** Whether a client has begun to speak HTTP/2 without asking first ("prior knowledge"). */
export function speaksHttp2(error: ParseError): boolean {
  return error.code === "HPE_PAUSED_H2_UPGRADE" && error.rawPacket !== undefined && error.bytesParsed !== undefined;
}

/** Takes such a connection from node:http, as it lets go of one that upgrades, with all its bytes unread again. */
export function takeFromHttp1(given: Socket, { bytesParsed, rawPacket }: ParseError): void {
  const socket = given as ParsedSocket;
  const { parser } = socket;
  if (parser) {
    if (parser._consumed) parser.unconsume();
    parser._consumed = false;
    parser.remove();
    socket.parser = null;
    // It calls us from within.
    setImmediate(() => parser.close());
  }
  if (socket._handle) socket._handle._consumed = false;
  for (const name of LISTENED) socket.removeAllListeners(name);
  socket.pause();
  socket.unshift(Buffer.concat([PREFACE, rawPacket?.subarray(bytesParsed) ?? Buffer.alloc(0)]));
}
