import { loadEngine } from "@hms/authorization";
import { ensureFfiFolders, type InstanceNetwork, type InstancePaths } from "@hms/config";
import { registry } from "@hms/contracts";
import { openEventLog } from "@hms/events";
import { componentPrincipal, type Kernel } from "@hms/kernel";
import { connectionSource } from "@hms/postgres";
import { announceServices } from "@hms/service-registry";
import type { Logger } from "@hms/telemetry";
import { type OtherProtocols, type SocketServer, serveSocket } from "@hms/wire";
import { DATABASE_PATIENCE_MS, openDatabases } from "./open-databases.ts";
import { edgeProtocols, openEdge } from "./open-edge.ts";
import { openKernel } from "./open-kernel.ts";
import { openServices } from "./open-services.ts";

/** What a server is made of. */
export interface ServerOptions {
  paths: InstancePaths;
  network: InstanceNetwork;
  /** A PostgreSQL elsewhere; undefined: the embedded one. */
  databaseUrl: string | undefined;
  log: Logger;
}

/** Composes all services into one process and serves them on the installation's sockets. */
export async function openServer(options: ServerOptions): Promise<AsyncDisposable> {
  const { paths, databaseUrl, log } = options;
  await using stack = new AsyncDisposableStack();
  const kernels = openKernel(paths, stack, log);
  const { kernel, replicaKernel, metrics } = kernels;
  const source = connectionSource(paths, databaseUrl);
  const onFailure = (error: unknown) => log.warn("the event log could not do what nobody waits for", { error });
  const opening = Promise.all([
    openDatabases(source, stack),
    openEventLog({ source, deadlineMs: DATABASE_PATIENCE_MS, onFailure }),
  ]);
  // Costs nothing while PostgreSQL is being waited for; the first call would wait for it.
  loadEngine();
  const [databases, events] = await opening;
  stack.use(events);
  await openServices({ ...options, ...kernels, databases, events }, stack);

  const { also } = await openEdge({ kernel, metrics, paths, log }, stack);
  stack.use(await serveSocket(kernel, { path: paths.kernelSocket, also }));
  stack.use(await serveReplicas(replicaKernel, paths, edgeProtocols(replicaKernel, stack)));
  stack.use(announceOwn(kernel, paths, log));
  return stack.move();
}

/** Answers deployed services, whoever their uid is: nothing there is answered without a token. */
function serveReplicas(kernel: Kernel, paths: InstancePaths, also: OtherProtocols): Promise<SocketServer> {
  ensureFfiFolders(paths);
  return serveSocket(kernel, { path: paths.ffiSocket, mode: 0o666, also });
}

/** Registers what this process serves itself. */
function announceOwn(kernel: Kernel, paths: InstancePaths, log: Logger): AsyncDisposable {
  return announceServices({
    registry: kernel.client(registry.RegistryService, componentPrincipal("server")),
    services: new Set([...kernel.methods()].map(({ desc }) => desc.parent)),
    address: `unix:${paths.kernelSocket}`,
    instanceId: "server",
    onFailure: (error) => log.warn("the platform's own services could not be registered yet", { error }),
  });
}
