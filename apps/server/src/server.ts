import type { InstanceNetwork, InstancePaths } from "@hms/config";
import { agent, deployment as deploymentContract, mesh, registry as registryContract } from "@hms/contracts";
import { componentPrincipal, createClient } from "@hms/kernel";
import { ensureToken } from "@hms/local-access";
import { connectionSource } from "@hms/postgres";
import { createProcessRuntime } from "@hms/provider-process";
import { createDeploymentService } from "@hms/service-deployment";
import { createMeshService } from "@hms/service-mesh";
import { announceServices, createRegistryService } from "@hms/service-registry";
import type { Logger } from "@hms/telemetry";
import { connectSocket, serveSocket } from "@hms/wire";
import { openDatabases } from "./open-databases.ts";
import { openKernel } from "./open-kernel.ts";

/** What a server is made of. */
export interface ServerOptions {
  paths: InstancePaths;
  network: InstanceNetwork;
  /** A PostgreSQL elsewhere; undefined: the embedded one. */
  databaseUrl: string | undefined;
  log: Logger;
}

/** Composes all services into one process and serves them on the installation's socket. */
export async function openServer({ paths, network, databaseUrl, log }: ServerOptions): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { kernel } = openKernel(paths, stack, log);
  const databases = await openDatabases(connectionSource(paths, databaseUrl), stack);

  const registry = stack.use(createRegistryService({ database: databases.registry }));
  kernel.register(registry.registration);
  const meshService = stack.use(createMeshService({ database: databases.mesh, network }));
  kernel.register(meshService.registration);

  const agentTransport = connectSocket({ path: paths.agentSocket, token: ensureToken(paths.serverToken) });
  stack.defer(() => agentTransport.close());
  const runtime = createProcessRuntime(createClient(agent.AgentService, agentTransport));
  const deployment = stack.use(
    createDeploymentService({
      database: databases.deployment,
      mesh: kernel.client(mesh.MeshService, componentPrincipal("hms.sys.deployment")),
      runtime,
      log,
    }),
  );
  kernel.register(deployment.registration);

  stack.use(await serveSocket(kernel, { path: paths.kernelSocket }));
  stack.use(
    announceServices({
      registry: kernel.client(registryContract.RegistryService, componentPrincipal("server")),
      services: [registryContract.RegistryService, mesh.MeshService, deploymentContract.DeploymentService],
      address: `unix:${paths.kernelSocket}`,
      instanceId: "server",
      onFailure: (error) => log.warn("the platform's own services could not be registered yet", { error }),
    }),
  );
  return stack.move();
}
