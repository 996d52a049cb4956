import {
  hostEnvironment,
  type InstanceNetwork,
  type InstancePaths,
  type PartName,
  readRoutesDefaultAuth,
} from "@hms/config";
import { agent, integrationEvents, mesh } from "@hms/contracts";
import type { Durable } from "@hms/durable";
import { type EventLog, openOutbox } from "@hms/events";
import { componentPrincipal, createClient, HmsError, type Principal, type ServiceRegistration } from "@hms/kernel";
import { createKnownPrincipals, ensureToken, workloadPrincipal } from "@hms/local-access";
import { createGrpcServers } from "@hms/provider-grpc";
import { createProcessRuntime } from "@hms/provider-process";
import { createAutomationService } from "@hms/service-automation";
import { createDeploymentService, replicaMethods } from "@hms/service-deployment";
import { openIntegrationService } from "@hms/service-integration";
import { createMeshService } from "@hms/service-mesh";
import { createRegistryService } from "@hms/service-registry";
import type { Logger } from "@hms/telemetry";
import { connectSocket } from "@hms/wire";
import { openCommunication } from "./open-communication.ts";
import type { Databases } from "./open-databases.ts";
import type { ServerKernel } from "./open-kernel.ts";

/** What services stand on. */
export interface Ground extends ServerKernel {
  paths: InstancePaths;
  network: InstanceNetwork | undefined;
  databases: Databases;
  /** There where something is published or subscribed to. */
  events: EventLog | undefined;
  /** There where automation runs. */
  durable: Durable | undefined;
  log: Logger;
}

type OpenPart = (ground: Ground, stack: AsyncDisposableStack) => Opened | Promise<Opened>;
type Opened = readonly ServiceRegistration[];

const openers: Readonly<Record<PartName, OpenPart>> = {
  registry: openRegistry,
  mesh: openMesh,
  deployment: openDeployment,
  integration: openIntegration,
  communication: openAudit,
  automation: openAutomation,
};

/** Opens these parts of the platform, one after the other, and answers with what they offer. */
export async function openServices(
  ground: Ground,
  parts: readonly PartName[],
  stack: AsyncDisposableStack,
): Promise<ServiceRegistration[]> {
  const registrations: ServiceRegistration[] = [];
  for (const part of parts) registrations.push(...(await openers[part](ground, stack)));
  return registrations;
}

/** What a part cannot do without, and has where it runs. */
function needed<T>(what: string, value: T | undefined): T {
  if (value !== undefined) return value;
  throw new HmsError("FAILED_PRECONDITION", `A part of the platform has no ${what} here; start it by: hms-sys up.`);
}

function openRegistry({ kernel, access, databases, log }: Ground, stack: AsyncDisposableStack): ServiceRegistration[] {
  const registry = createRegistryService({
    database: needed("database", databases.registry),
    policies: access.book,
    audit: kernel.options.audit,
    registersOf: access.keys.registersOf,
    known: async (name) => createKnownPrincipals(access.keys)(name) ?? access.accounts.named(name),
    foreignServers: createGrpcServers(),
    mesh: kernel.client(mesh.MeshService, componentPrincipal("hms.ffi")),
    onFailure: (error) => log.warn("the registry could not do what nobody waits for", { error }),
  });
  stack.use(registry);
  access.takenAway.connect(registry);
  return [registry.registration, registry.policies];
}

function openMesh(
  { kernel, databases, network, paths, log }: Ground,
  stack: AsyncDisposableStack,
): ServiceRegistration[] {
  const sensors = {
    bus: kernel.client(integrationEvents.EventService, componentPrincipal("hms.sys.mesh")),
    onChange: (error: unknown) =>
      error === undefined
        ? log.info("events of what passes through the mesh are published again")
        : log.warn("events of what passes through the mesh cannot be published, and are let go", { error }),
  };
  const options = { database: needed("database", databases.mesh), network: needed("network", network), sensors };
  return [stack.use(createMeshService({ ...options, kept: keptIn(paths).mesh })).registration];
}

/** Where parts keep what they need while the database is away. */
export const keptIn = ({ kept }: InstancePaths) => ({ mesh: `${kept}/mesh`, deployment: `${kept}/deployment` });

/** What a deployment service stands on beside its database. */
export function deploymentGround(
  { kernel, access, paths, log }: Pick<Ground, "kernel" | "access" | "paths" | "log">,
  stack: AsyncDisposableStack,
) {
  const agentTransport = connectSocket({ path: paths.agentSocket, token: ensureToken(paths.serverToken) });
  stack.defer(() => agentTransport.close());
  return {
    mesh: kernel.client(mesh.MeshService, componentPrincipal("hms.sys.deployment")),
    runtime: createProcessRuntime(createClient(agent.AgentService, agentTransport)),
    methods: replicaMethods(kernel, workloadPrincipal),
    credentials: ({ environment, service: name }: { environment: string; service: string }) => ({
      HMS_FFI_SOCKET: paths.ffiSocket,
      HMS_FFI_TOKEN: access.workloads.mint({ environment, name }),
    }),
    policy: access.policy,
    sealing: access.sealing,
    audit: kernel.options.audit,
    routesDefaultAuth: () => readRoutesDefaultAuth(paths),
    kept: keptIn(paths).deployment,
    log,
  };
}

async function openDeployment(ground: Ground, stack: AsyncDisposableStack): Promise<Opened> {
  const { access, databases, events } = ground;
  const database = needed("database", databases.deployment);
  const outbox = stack.use(await openOutbox({ log: needed("event log", events), database }));
  const deployment = createDeploymentService({ database, outbox, ...deploymentGround(ground, stack) });
  access.owners.connect("services", (service, environment) => deployment.ownerOf({ environment, service }));
  const { registration, secrets } = stack.use(deployment);
  return [registration, secrets];
}

async function openAudit({ paths, access, databases, log }: Ground, stack: AsyncDisposableStack): Promise<Opened> {
  const { auditSink: sinkUrl, auditKeepDays: keepDays } = hostEnvironment();
  const database = needed("database", databases.communication);
  const ground = { paths, sealing: access.sealing, database, sinkUrl, keepDays, log };
  return [stack.use(await openCommunication(ground)).registration];
}

async function openIntegration(ground: Ground, stack: AsyncDisposableStack): Promise<Opened> {
  const { kernel, access, databases, events, log } = ground;
  const integration = await openIntegrationService({
    database: needed("database", databases.integration),
    events: needed("event log", events),
    kernel,
    current: currentOf(access),
    onFailure: (error) => log.warn("an operation or callback has to wait", { error }),
  });
  return stack.use(integration).registrations;
}

function openAutomation({ kernel, access, databases, durable, log }: Ground, stack: AsyncDisposableStack): Opened {
  const automation = createAutomationService({
    database: needed("database", databases.automation),
    durable: needed("run engine", durable),
    kernel,
    current: currentOf(access),
    onFailure: (error) => log.warn("a run has to wait", { error }),
  });
  return stack.use(automation).registrations;
}

/** Who has no key may have an account. */
const currentOf = (access: Ground["access"]) => (principal: Principal) =>
  access.keys.current(principal) ?? access.accounts.current(principal);
