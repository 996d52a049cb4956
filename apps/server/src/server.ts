import { chmod } from "node:fs/promises";
import { ensureFfiFolders, type InstanceNetwork, type InstancePaths } from "@hms/config";
import {
  agent,
  deployment as deploymentContract,
  mesh,
  policy as policyContract,
  registry as registryContract,
} from "@hms/contracts";
import { componentPrincipal, createClient, type Kernel, type ServiceRegistration } from "@hms/kernel";
import { ensureToken } from "@hms/local-access";
import { connectionSource } from "@hms/postgres";
import { createProcessRuntime } from "@hms/provider-process";
import { createDeploymentService } from "@hms/service-deployment";
import { createMeshService } from "@hms/service-mesh";
import { announceServices, createRegistryService } from "@hms/service-registry";
import type { Logger } from "@hms/telemetry";
import { connectSocket, type SocketServer, serveSocket } from "@hms/wire";
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
  const { kernel, replicaKernel, access } = openKernel(paths, stack, log);
  const register = (registration: ServiceRegistration) => {
    for (const each of [kernel, replicaKernel]) each.register(registration);
  };
  const databases = await openDatabases(connectionSource(paths, databaseUrl), stack);

  const registry = createRegistryService({
    database: databases.registry,
    policies: access.book,
    audit: kernel.options.audit,
    registersOf: access.keys.registersOf,
    onFailure: (error) => log.warn("the registry could not do what nobody waits for", { error }),
  });
  stack.use(registry);
  access.takenAway.connect(registry);
  register(registry.registration);
  register(registry.policies);
  const meshService = stack.use(createMeshService({ database: databases.mesh, network }));
  register(meshService.registration);

  const agentTransport = connectSocket({ path: paths.agentSocket, token: ensureToken(paths.serverToken) });
  stack.defer(() => agentTransport.close());
  const runtime = createProcessRuntime(createClient(agent.AgentService, agentTransport));
  const deployment = stack.use(
    createDeploymentService({
      database: databases.deployment,
      mesh: kernel.client(mesh.MeshService, componentPrincipal("hms.sys.deployment")),
      runtime,
      credentials: ({ environment, service: name }) => ({
        HMS_FFI_SOCKET: paths.ffiSocket,
        HMS_FFI_TOKEN: access.workloads.mint({ environment, name }),
      }),
      log,
    }),
  );
  register(deployment.registration);

  stack.use(await serveSocket(kernel, { path: paths.kernelSocket }));
  stack.use(await serveReplicas(replicaKernel, paths));
  stack.use(
    announceServices({
      registry: kernel.client(registryContract.RegistryService, componentPrincipal("server")),
      services: [
        registryContract.RegistryService,
        policyContract.PolicyService,
        mesh.MeshService,
        deploymentContract.DeploymentService,
      ],
      address: `unix:${paths.kernelSocket}`,
      instanceId: "server",
      onFailure: (error) => log.warn("the platform's own services could not be registered yet", { error }),
    }),
  );
  return stack.move();
}

/** Answers deployed services, whoever their uid is: nothing there is answered without a token. */
async function serveReplicas(kernel: Kernel, paths: InstancePaths): Promise<SocketServer> {
  ensureFfiFolders(paths);
  const server = await serveSocket(kernel, { path: paths.ffiSocket });
  await chmod(paths.ffiSocket, 0o666);
  return server;
}
