import { followPolicies, loadEngine } from "@hms/authorization";
import { ensureFfiFolders, type InstanceNetwork, type InstancePaths } from "@hms/config";
import { audit, policy, registry } from "@hms/contracts";
import { announceServices } from "@hms/directory";
import { openDurable } from "@hms/durable";
import { openEventLog } from "@hms/events";
import { httpProtocols } from "@hms/grpc";
import { componentPrincipal, type Kernel } from "@hms/kernel";
import { ensureSealedToken, readToken } from "@hms/local-access";
import { type PartPlacement, partKeyOf } from "@hms/parts";
import { type ConnectionSource, connectionSource } from "@hms/postgres";
import { forwardSpool } from "@hms/service-communication";
import type { IdentityService } from "@hms/service-identity";
import { createCallService, type Logger } from "@hms/telemetry";
import { type OtherProtocols, type SocketServer, serveSocket } from "@hms/wire";
import { connectParts } from "./connect-parts.ts";
import { noteDatabaseRoles } from "./note-database-roles.ts";
import type { ServerAccess } from "./open-access.ts";
import { openAcme } from "./open-acme.ts";
import { openCredentials } from "./open-credentials.ts";
import { DATABASE_PATIENCE_MS, openDatabases } from "./open-databases.ts";
import { edgeOf, openEdge } from "./open-edge.ts";
import { followAccounts, mountIdentity, openIdentity } from "./open-identity.ts";
import { openKernel, type ServerKernel } from "./open-kernel.ts";
import { openServices } from "./open-services.ts";
import { type PlatformMetrics, platformMetrics } from "./platform-metrics.ts";
import { serveNetwork } from "./serve-network.ts";
import { serveParts } from "./serve-parts.ts";
import { whileOpening } from "./stand-in.ts";

/** What a server is made of. */
export interface ServerOptions {
  paths: InstancePaths;
  /** Undefined where the installation's agent has never run; the mesh and the deployment need it. */
  network: InstanceNetwork | undefined;
  /** A PostgreSQL elsewhere; undefined: the embedded one. */
  databaseUrl: string | undefined;
  /** Where other machines are answered: "tls://host:port"; undefined: nowhere. */
  networkAddress: string | undefined;
  placement: PartPlacement;
  log: Logger;
}

/**
 * Composes the parts of the platform that run in this process, makes the others callable, and serves them: the server
 * on the installation's sockets, a process with a few parts to the platform's other processes only.
 */
export async function openServer(options: ServerOptions): Promise<AsyncDisposable> {
  const { paths, databaseUrl, placement, log } = options;
  await using stack = new AsyncDisposableStack();
  const kernels = openKernel({ paths, process: placement.process, log }, stack);
  const { kernel } = kernels;
  const { takenAway } = kernels.access;
  const installation = paths.instance;
  const key = openPartKey(placement, paths, kernels.access);
  const parts = connectParts({ placement, installation, key, kernels: kernels.kernels }, stack);
  followRegistry(kernels, options, stack);
  forwardAudit(kernels, options, stack);
  const source = connectionSource(paths, databaseUrl);
  const opening = Promise.all([
    openDatabases(source, placement.here, stack),
    openEvents(source, options, stack),
    openRuns(source, options, stack),
    placement.isServer
      ? openIdentity({ ...options, ...kernels, source }, stack)
      : followAccounts({ ...kernels, source }, stack),
  ]);
  // Costs nothing while PostgreSQL is being waited for; the first call would wait for it.
  loadEngine();
  const [databases, events, durable, people] = await whileOpening(opening, { ...options, ...kernels, source });
  const identity = people?.service;
  if (identity) noteDatabaseRoles({ ...databases, durable: durable?.database }, options);
  const registrations = await openServices(
    { ...options, ...kernels, databases, events, durable },
    placement.here,
    stack,
  );
  const metrics = platformMetrics(kernels.metrics, parts);
  const callService = createCallService({
    observer: kernels.observer,
    process: placement.process,
    // Each process says what it counts itself; the server is asked for all of them.
    metrics: ({ principal }) => (identity ? metrics(principal) : kernels.metrics.expose()),
  });
  // Calls come in, and people are known, at the server; a process with a few parts only serves the others.
  const callable = identity
    ? [
        ...registrations,
        ...identity.registrations,
        openCredentials(kernels.access, identity, installation),
        callService,
      ]
    : registrations;
  for (const each of kernels.kernels) for (const registration of callable) each.register(registration);
  const forParts = identity ? registrations : [...registrations, callService];
  await serveParts({ placement, installation, key, kernel, registrations: forParts, takenAway, log }, stack);
  if (people) openAcme({ paths, exclusively: (work) => people.database.withAdvisoryLock("acme", work), log }, stack);
  if (identity) await serveEverybody({ ...kernels, metrics, identity }, options, stack);
  return stack.move();
}

/** The key by which the installation's processes know each other; made at first use, unless it is given by its file. */
function openPartKey(
  { keyFile }: PartPlacement,
  { partKey }: InstancePaths,
  { sealing }: Pick<ServerAccess, "sealing">,
): Uint8Array {
  if (keyFile !== partKey) return partKeyOf(readToken(keyFile));
  return partKeyOf(ensureSealedToken({ path: keyFile, sealing }));
}

/** The registry's process follows access files and accounts itself, and its policies are followed by all others. */
function followRegistry(
  { kernel, access }: ServerKernel,
  { placement, log }: ServerOptions,
  stack: AsyncDisposableStack,
) {
  if (placement.here.includes("registry")) return;
  access.takenAway.connect({ policyFileChanged: () => {}, revokePrincipal: () => {} });
  const policies = kernel.client(policy.PolicyService, componentPrincipal("server"));
  const onFailure = (error: unknown) =>
    log.warn("the registry does not tell of policies; those known stay in force, and it is asked again", { error });
  stack.use(followPolicies({ policies, book: access.book, onFailure }));
}

/** Where the audit log is kept by another process, perhaps of another machine, it may not see this one's spool. */
function forwardAudit({ kernel }: ServerKernel, { paths, placement, log }: ServerOptions, stack: AsyncDisposableStack) {
  if (placement.here.includes("communication")) return;
  const onFailure = (error: unknown) => log.warn("audit events wait in the spool of this process", { error });
  const client = kernel.client(audit.AuditService, componentPrincipal("server"));
  stack.use(forwardSpool({ spools: paths.audit, process: placement.process, log: client, onFailure }));
}

async function openEvents(source: ConnectionSource, { placement, log }: ServerOptions, stack: AsyncDisposableStack) {
  if (!placement.here.some((part) => part === "integration" || part === "deployment")) return undefined;
  const onFailure = (error: unknown) => log.warn("the event log could not do what nobody waits for", { error });
  return stack.use(await openEventLog({ source, deadlineMs: DATABASE_PATIENCE_MS, onFailure }));
}

async function openRuns(source: ConnectionSource, { placement }: ServerOptions, stack: AsyncDisposableStack) {
  if (!placement.here.includes("automation")) return undefined;
  return stack.use(await openDurable({ source, deadlineMs: DATABASE_PATIENCE_MS }));
}

/** With what everybody is served. */
interface Everybody extends Pick<ServerKernel, "kernel" | "replicaKernel" | "networkKernel"> {
  metrics: PlatformMetrics;
  identity: IdentityService;
}

async function serveEverybody(
  { kernel, replicaKernel, networkKernel, metrics, identity }: Everybody,
  { paths, networkAddress: address, log }: ServerOptions,
  stack: AsyncDisposableStack,
): Promise<void> {
  const { edge, also } = await openEdge({ kernel, metrics, paths, log }, stack);
  mountIdentity(edge, identity);
  stack.use(await serveSocket(kernel, { path: paths.kernelSocket, also }));
  if (address !== undefined) await serveNetwork({ kernel: networkKernel, metrics, address, paths, log }, stack);
  stack.use(await serveReplicas(replicaKernel, paths, httpProtocols(edgeOf(replicaKernel, {}, stack).listener)));
  stack.use(announceOwn(kernel, paths, log));
}

/** Answers deployed services, whoever their uid is: nothing there is answered without a token. */
function serveReplicas(kernel: Kernel, paths: InstancePaths, also: OtherProtocols): Promise<SocketServer> {
  ensureFfiFolders(paths);
  return serveSocket(kernel, { path: paths.ffiSocket, mode: 0o666, also });
}

/** Registers what can be called through this process, in whichever process it runs: the platform has one address. */
function announceOwn(kernel: Kernel, paths: InstancePaths, log: Logger): AsyncDisposable {
  return announceServices({
    registry: kernel.client(registry.RegistryService, componentPrincipal("server")),
    services: new Set([...kernel.methods()].map(({ desc }) => desc.parent)),
    address: `unix:${paths.kernelSocket}`,
    instanceId: "server",
    onFailure: (error) => log.warn("the platform's own services could not be registered yet", { error }),
  });
}
