import type { Server } from "node:http";
import type { InstancePaths } from "@hms/config";
import { alsoHttp2, createRpcListener, httpProtocols, type OtherConnections } from "@hms/grpc";
import { createEdgeServer, Edge, type EdgeOptions } from "@hms/http-edge";
import { HmsError, type Kernel } from "@hms/kernel";
import { ensurePlatformHost } from "@hms/local-access";
import type { Logger } from "@hms/telemetry";
import { listenOnFile, type OtherProtocols } from "@hms/wire";
import type { PlatformMetrics } from "./platform-metrics.ts";

/** How long running requests may take to end when the server is stopped. */
const CLOSE_PATIENCE_MS = 5_000;

const METRICS_RULE = { permission: "metrics:read", auditLevel: "none", mutates: false } as const;

/** What an edge is opened with. */
export interface OpenEdgeOptions {
  kernel: Kernel;
  /** What has been counted of calls; answered at /metrics. */
  metrics: PlatformMetrics;
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
 * Answers HTTP for the kernel on the installation's edge socket: REST, Connect, gRPC-Web and gRPC, by HTTP/1.1 and by
 * HTTP/2 with prior knowledge. The gateway sends it what no route of a service takes, if it shows credentials; so its
 * Host names and origins are the gateway's.
 */
export async function openEdge(options: OpenEdgeOptions, stack: AsyncDisposableStack): Promise<OpenEdge> {
  const { kernel, metrics, paths, log } = options;
  const onConflicts: EdgeOptions["onConflicts"] = (environment, conflicts) =>
    log.warn("routes contradict each other; the first of each keeps its place", { environment, conflicts });
  const edge = edgeOf(kernel, { onConflicts, platformHost: ensurePlatformHost(paths.platformHost) }, stack);
  mountMetrics(edge, metrics);
  const also = httpProtocols(edge.listener);
  const server = createEdgeServer(edge);
  const others = alsoHttp2(server, also.http2);
  const file = await listenOnFile(server, paths.edgeSocket);
  stack.defer(async () => {
    await file.remove();
    edge.drain();
    await closeServer(server, others);
  });
  return { edge, also };
}

/** Answers what has been counted of calls, for Prometheus. */
export function mountMetrics(edge: Edge, metrics: OpenEdgeOptions["metrics"]): void {
  edge.mount("/metrics", METRICS_RULE, async (_, response, { principal }) => {
    const page = await metrics(principal);
    response.setHeader("content-type", "text/plain; version=0.0.4; charset=utf-8");
    response.end(page);
  });
}

/** An edge of a kernel that answers gRPC, gRPC-Web and Connect too; it ends with the stack. */
export function edgeOf(kernel: Kernel, options: Omit<EdgeOptions, "others">, stack: AsyncDisposableStack): Edge {
  const stopping = new AbortController();
  const edge = stack.use(
    new Edge(kernel, { ...options, others: createRpcListener(kernel, { stop: stopping.signal }) }),
  );
  // Before the edge goes: streams that only read never end by themselves.
  stack.defer(() =>
    stopping.abort(new HmsError("UNAVAILABLE", "The server is stopping.", { reason: "SERVER_STOPPING" })),
  );
  return edge;
}

async function closeServer(server: Server, others: OtherConnections): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  others.leave();
  const late = setTimeout(() => {
    server.closeAllConnections();
    others.destroy();
  }, CLOSE_PATIENCE_MS);
  await closed;
  clearTimeout(late);
}
