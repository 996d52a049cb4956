import { createServer, type Server } from "node:http";
import type { Socket } from "node:net";
import type { Edge } from "./edge.ts";
import { type EdgeFault, fault } from "./edge-fault.ts";
import { errorJson } from "./error-answer.ts";

/** Limits of a server in front of an edge; every field has a default. */
export interface EdgeServerOptions {
  /** The largest head of a request, bytes; default 32 KiB. */
  readonly maxHeadBytes?: number;
  /** How long a request's head may take; default 10 s. */
  readonly headTimeoutMs?: number;
  /** How long an idle connection is kept; default 75 s. */
  readonly idleTimeoutMs?: number;
  /** Connections at once; default 8192. More are closed. */
  readonly maxConnections?: number;
}

/** An HTTP/1.1 server that answers through an edge; the caller decides where it listens, and closes it. */
export function createEdgeServer(edge: Edge, options: EdgeServerOptions = {}): Server {
  const headTimeoutMs = options.headTimeoutMs ?? 10_000;
  const server = createServer({
    maxHeaderSize: options.maxHeadBytes ?? 32 * 1024,
    headersTimeout: headTimeoutMs,
    connectionsCheckingInterval: Math.min(1000, headTimeoutMs),
    // Bodies have times of their own: a stream may last.
    requestTimeout: 0,
    keepAliveTimeout: options.idleTimeoutMs ?? 75_000,
    noDelay: true,
  });
  // Bytes are the limit; node:http would drop fields beyond a number of them without a word.
  server.maxHeadersCount = 0;
  server.maxConnections = options.maxConnections ?? 8192;
  server.on("request", edge.listener);
  // Only "100-continue" means something, and node:http looks after it.
  server.on("checkExpectation", edge.listener);
  server.on("clientError", refuseUnreadable);
  return server;
}

function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  const found = unreadable(error.code);
  const body = errorJson(found.error, found.status);
  socket.end(
    `HTTP/1.1 ${found.status} Unreadable\r\ncontent-type: application/json\r\nconnection: close\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function unreadable(code: string | undefined): EdgeFault {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return fault("RESOURCE_EXHAUSTED", "The request's head is too large.", { status: 431, reason: "HEAD_TOO_LARGE" });
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return fault("RESOURCE_EXHAUSTED", "The request's chunk extensions are too large.", { status: 413 });
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return fault("DEADLINE_EXCEEDED", "The request's head did not arrive in time.", { status: 408 });
    default:
      return fault("INVALID_ARGUMENT", "This is not an HTTP/1.1 request that can be read safely.");
  }
}
