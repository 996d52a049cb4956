import type { Server } from "node:http";
import type { InstancePaths } from "@hms/config";
import { createRpcListener, httpProtocols } from "@hms/grpc";
import { createEdgeServer, Edge, type EdgeOptions } from "@hms/http-edge";
import { HmsError, type Kernel } from "@hms/kernel";
import { ensurePlatformHost } from "@hms/local-access";
import type { CallMetrics, Logger } from "@hms/telemetry";
import { listenOnFile, type OtherProtocols } from "@hms/wire";

/** How long running requests may take to end when the server is stopped. */
const CLOSE_PATIENCE_MS = 5_000;

const METRICS_RULE = { permission: "metrics:read", auditLevel: "none", mutates: false } as const;

/** What an edge is opened with. */
export interface OpenEdgeOptions {
  kernel: Kernel;
  /** What has been counted of the calls of this process; answered at /metrics. */
  metrics: Pick<CallMetrics, "expose">;
  paths: InstancePaths;
  log: Logger;
}

/** An edge that is served. */
export interface OpenEdge {
  readonly edge: Edge;
  /** Answers HTTP in its two versions on connections of other sockets. */
  readonly also: OtherProtocols;
}

/**
 * Answers HTTP for the kernel on the installation's edge socket: REST, Connect, gRPC-Web and gRPC. The gateway sends it
 * what no route of a service takes, if it shows credentials; so its Host names and origins are the gateway's.
 */
export async function openEdge(options: OpenEdgeOptions, stack: AsyncDisposableStack): Promise<OpenEdge> {
  const { kernel, metrics, paths, log } = options;
  const edge = edgeOf(kernel, stack, {
    platformHost: ensurePlatformHost(paths.platformHost),
    onConflicts: (environment, conflicts) =>
      log.warn("routes contradict each other; the first of each keeps its place", { environment, conflicts }),
  });
  edge.mount("/metrics", METRICS_RULE, (_, response) => {
    response.setHeader("content-type", "text/plain; version=0.0.4; charset=utf-8");
    response.end(metrics.expose());
  });
  const server = createEdgeServer(edge);
  const file = await listenOnFile(server, paths.edgeSocket);
  stack.defer(async () => {
    await file.remove();
    edge.drain();
    await closeServer(server);
  });
  return { edge, also: httpProtocols(edge.listener) };
}

/** Answers HTTP for a kernel on connections of a socket that others listen on. */
export function edgeProtocols(kernel: Kernel, stack: AsyncDisposableStack): OtherProtocols {
  return httpProtocols(edgeOf(kernel, stack).listener);
}

function edgeOf(
  kernel: Kernel,
  stack: AsyncDisposableStack,
  own: Pick<EdgeOptions, "platformHost" | "onConflicts"> = {},
): Edge {
  const stopping = new AbortController();
  const edge = stack.use(new Edge(kernel, { others: createRpcListener(kernel, { stop: stopping.signal }), ...own }));
  // Before the edge goes: streams that only read never end by themselves.
  stack.defer(() =>
    stopping.abort(new HmsError("UNAVAILABLE", "The server is stopping.", { reason: "SERVER_STOPPING" })),
  );
  return edge;
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const late = setTimeout(() => server.closeAllConnections(), CLOSE_PATIENCE_MS);
  await closed;
  clearTimeout(late);
}
