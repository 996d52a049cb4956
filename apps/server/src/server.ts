import { openAuditSpool } from "@hms/audit-spool";
import type { InstanceNetwork, InstancePaths } from "@hms/config";
import { agent, deployment as deploymentContract, mesh, registry as registryContract } from "@hms/contracts";
import { componentPrincipal, createClient, Kernel } from "@hms/kernel";
import { createLocalPolicy, createTokenIdentity, ensureToken } from "@hms/local-access";
import { type ConnectionSource, connectionSource, openServiceDatabase } from "@hms/postgres";
import { createProcessRuntime } from "@hms/provider-process";
import { createDeploymentService, type DeploymentTables, deploymentMigrations } from "@hms/service-deployment";
import { createMeshService, type MeshTables, meshMigrations } from "@hms/service-mesh";
import {
  announceServices,
  createRegistryService,
  type RegistryTables,
  registryMigrations,
} from "@hms/service-registry";
import type { Logger } from "@hms/telemetry";
import { connectSocket, serveSocket } from "@hms/wire";

/** What a server is made of. */
export interface ServerOptions {
  paths: InstancePaths;
  network: InstanceNetwork;
  /** A PostgreSQL elsewhere; undefined: the embedded one. */
  databaseUrl: string | undefined;
  log: Logger;
}

/** The database may still be starting when the server does. */
const DATABASE_PATIENCE_MS = 60_000;

/** Composes all services into one process and serves them on the installation's socket. */
export async function openServer({ paths, network, databaseUrl, log }: ServerOptions): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const kernel = openKernel(paths, stack, log);
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

function openKernel(paths: InstancePaths, stack: AsyncDisposableStack, log: Logger): Kernel {
  const audit = stack.use(
    openAuditSpool({
      directory: `${paths.data}/audit/server`,
      onChange: (accepts, reason) =>
        accepts
          ? log.info("the audit spool accepts events again")
          : log.error("the audit spool is full: nothing may change", { reason }),
    }),
  );
  const identity = createTokenIdentity([
    [ensureToken(paths.operatorToken), { kind: "operator", id: "operator" }],
    [ensureToken(paths.dataplaneToken), componentPrincipal("dataplane")],
  ]);
  const policy = createLocalPolicy({
    dataplane: ["mesh:read", "mesh:report"],
    "hms.sys.deployment": ["mesh:read", "mesh:write"],
    server: ["registry:register"],
  });
  return new Kernel({ identity, policy, audit });
}

async function openDatabases(source: ConnectionSource, stack: AsyncDisposableStack) {
  const deadlineMs = DATABASE_PATIENCE_MS;
  const [registry, meshDatabase, deployment] = await Promise.all([
    openServiceDatabase<RegistryTables>({ source, service: "registry", migrations: registryMigrations, deadlineMs }),
    openServiceDatabase<MeshTables>({ source, service: "mesh", migrations: meshMigrations, deadlineMs }),
    openServiceDatabase<DeploymentTables>({
      source,
      service: "deployment",
      migrations: deploymentMigrations,
      deadlineMs,
    }),
  ]);
  for (const database of [registry, meshDatabase, deployment]) stack.use(database);
  return { registry, mesh: meshDatabase, deployment };
}
