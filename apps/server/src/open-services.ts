import type { InstanceNetwork, InstancePaths } from "@hms/config";
import { agent, mesh } from "@hms/contracts";
import type { EventLog } from "@hms/events";
import { componentPrincipal, createClient, type ServiceRegistration } from "@hms/kernel";
import { createKnownPrincipals, ensureToken } from "@hms/local-access";
import { createGrpcServers } from "@hms/provider-grpc";
import { createProcessRuntime } from "@hms/provider-process";
import { createDeploymentService } from "@hms/service-deployment";
import { openIntegrationService } from "@hms/service-integration";
import { createMeshService } from "@hms/service-mesh";
import { createRegistryService } from "@hms/service-registry";
import type { Logger } from "@hms/telemetry";
import { connectSocket } from "@hms/wire";
import type { Databases } from "./open-databases.ts";
import type { ServerKernel } from "./open-kernel.ts";

/** What services stand on. */
export interface Ground extends ServerKernel {
  paths: InstancePaths;
  network: InstanceNetwork;
  databases: Databases;
  events: EventLog;
  log: Logger;
}

/** Opens every service and makes it callable. */
export async function openServices(ground: Ground, stack: AsyncDisposableStack): Promise<void> {
  const registrations = [
    ...openRegistry(ground, stack),
    ...openMesh(ground, stack),
    ...openDeployment(ground, stack),
    ...(await openIntegration(ground, stack)),
  ];
  for (const kernel of [ground.kernel, ground.replicaKernel]) {
    for (const registration of registrations) kernel.register(registration);
  }
}

function openRegistry({ kernel, access, databases, log }: Ground, stack: AsyncDisposableStack): ServiceRegistration[] {
  const registry = createRegistryService({
    database: databases.registry,
    policies: access.book,
    audit: kernel.options.audit,
    registersOf: access.keys.registersOf,
    known: createKnownPrincipals(access.keys),
    foreignServers: createGrpcServers(),
    onFailure: (error) => log.warn("the registry could not do what nobody waits for", { error }),
  });
  stack.use(registry);
  access.takenAway.connect(registry);
  return [registry.registration, registry.policies];
}

function openMesh({ databases, network }: Ground, stack: AsyncDisposableStack): ServiceRegistration[] {
  return [stack.use(createMeshService({ database: databases.mesh, network })).registration];
}

function openDeployment(ground: Ground, stack: AsyncDisposableStack): ServiceRegistration[] {
  const { kernel, access, paths, databases, log } = ground;
  const agentTransport = connectSocket({ path: paths.agentSocket, token: ensureToken(paths.serverToken) });
  stack.defer(() => agentTransport.close());
  const deployment = createDeploymentService({
    database: databases.deployment,
    mesh: kernel.client(mesh.MeshService, componentPrincipal("hms.sys.deployment")),
    runtime: createProcessRuntime(createClient(agent.AgentService, agentTransport)),
    credentials: ({ environment, service: name }) => ({
      HMS_FFI_SOCKET: paths.ffiSocket,
      HMS_FFI_TOKEN: access.workloads.mint({ environment, name }),
    }),
    policy: access.policy,
    log,
  });
  access.owners.connect("services", (service, environment) => deployment.ownerOf({ environment, service }));
  return [stack.use(deployment).registration];
}

async function openIntegration(ground: Ground, stack: AsyncDisposableStack): Promise<readonly ServiceRegistration[]> {
  const { kernel, access, databases, events, log } = ground;
  const integration = await openIntegrationService({
    database: databases.integration,
    events,
    kernel,
    current: access.keys.current,
    onFailure: (error) => log.warn("an operation or callback has to wait", { error }),
  });
  return stack.use(integration).registrations;
}
