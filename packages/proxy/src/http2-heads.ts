import type { OutgoingHttpHeaders, ServerHttp2Stream, ServerStreamResponseOptions } from "node:http2";

/** Fields of a connection of HTTP/1.1, which node:http2 refuses to send (RFC 9113 §8.2.2); it refuses most `te`, too. */
const CONNECTION_FIELDS = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

/** Whether a field, its name in lower case, speaks of a connection and not of the message. */
export function isConnectionField(name: string): boolean {
  return CONNECTION_FIELDS.has(name);
}

/** Begins an answer; false: the client has gone, or HTTP/2 cannot say this, and the stream is reset. Never throws. */
export function sendHead(
  stream: ServerHttp2Stream,
  fields: OutgoingHttpHeaders,
  options?: ServerStreamResponseOptions,
): boolean {
  const isSent = attempt(stream, () => stream.respond(fields, options));
  if (!isSent) stream.destroy(new Error("The answer cannot be sent."));
  return isSent;
}

/** Sends an informational head if it can be sent still: clients do without. Never throws. */
export function sendInformation(stream: ServerHttp2Stream, fields: OutgoingHttpHeaders): void {
  attempt(stream, () => stream.additionalHeaders(fields));
}

/** Ends an answer with its trailers; if HTTP/2 cannot say them, the stream is reset. Never throws. */
export function sendTrailers(stream: ServerHttp2Stream, fields: OutgoingHttpHeaders): void {
  const isSent = attempt(stream, () => stream.sendTrailers(fields));
  if (!isSent) stream.destroy(new Error("The trailers cannot be sent."));
}

/** What these methods throw is thrown in a listener: nobody would catch it. */
function attempt(stream: ServerHttp2Stream, send: () => void): boolean {
  // One that its client has reset is closed, but not destroyed, while something that came on it is unread.
  if (stream.closed || stream.destroyed) return false;
  try {
    send();
    return true;
  } catch {
    return false;
  }
}
