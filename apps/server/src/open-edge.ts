import type { Server } from "node:http";
import type { InstancePaths } from "@hms/config";
import { createEdgeServer, Edge } from "@hms/http-edge";
import type { Kernel } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import { listenOnFile, type ProtocolHandler } from "@hms/wire";

/** How long running requests may take to end when the server is stopped. */
const CLOSE_PATIENCE_MS = 5_000;

/** What an edge is opened with. */
export interface OpenEdgeOptions {
  kernel: Kernel;
  paths: InstancePaths;
  log: Logger;
}

/** An edge that is served. */
export interface OpenEdge {
  readonly edge: Edge;
  /** Takes connections of other sockets that turn out to speak HTTP/1.1. */
  readonly http1: ProtocolHandler;
}

/**
 * Answers HTTP for the kernel on the installation's edge socket. The gateway sends it what no route of a service takes,
 * if it shows credentials; so its Host names and origins are the gateway's.
 */
export async function openEdge(options: OpenEdgeOptions, stack: AsyncDisposableStack): Promise<OpenEdge> {
  const { kernel, paths, log } = options;
  const edge = stack.use(
    new Edge(kernel, {
      onConflicts: (environment, conflicts) =>
        log.warn("routes contradict each other; the first of each keeps its place", { environment, conflicts }),
    }),
  );
  const server = createEdgeServer(edge);
  const file = await listenOnFile(server, paths.edgeSocket);
  stack.defer(async () => {
    await file.remove();
    edge.drain();
    await closeServer(server);
  });
  const http1: ProtocolHandler = (socket) => {
    server.emit("connection", socket);
    return () => server.closeIdleConnections();
  };
  return { edge, http1 };
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const late = setTimeout(() => server.closeAllConnections(), CLOSE_PATIENCE_MS);
  await closed;
  clearTimeout(late);
}
