import { chmodSync, mkdirSync } from "node:fs";
import { openAuditSpool, spoolMaxBytes } from "@hms/audit-spool";
import {
  changedGatewayListen,
  type HostEnvironment,
  hostEnvironment,
  type InstanceNetwork,
  type InstancePaths,
  type PartName,
  parseNetworkAddress,
  type RoutesDefaultAuth,
  readApart,
  readGatewayListen,
  readNetworkAddress,
  type WantedGatewayListen,
  writeApart,
  writeGatewayListen,
  writeNetworkAddress,
  writeRoutesDefaultAuth,
} from "@hms/config";
import { ListenerKeeper } from "@hms/handover";
import { componentPrincipal, Kernel } from "@hms/kernel";
import { createTokenIdentity, ensureToken } from "@hms/local-access";
import type { Logger } from "@hms/telemetry";
import { serveSocket } from "@hms/wire";
import { createAgentPolicy } from "./agent-policy.ts";
import { agentService } from "./agent-service.ts";
import { Platform } from "./components/platform.ts";
import {
  dataplaneComponent,
  partComponent,
  postgresComponent,
  serverComponent,
} from "./components/platform-components.ts";
import { takeInstanceLock } from "./instance-lock.ts";
import { probeIsolation } from "./launcher/isolation-probe.ts";
import { allocateNetwork, requireGatewayPort } from "./network/allocate-network.ts";
import { openReplicaKeeper } from "./replica/replica-keeper.ts";

/** What an agent is started with. */
export interface AgentOptions {
  paths: InstancePaths;
  /** The gateway's port from now on; undefined: as before. */
  gatewayPort: number | undefined;
  /** The parts that run in processes of their own from now on; undefined: as before. */
  apart: readonly PartName[] | undefined;
  /** Where other machines are answered from now on, or "none"; undefined: as before. */
  listen: string | undefined;
  /** Where the gateway listens beside loopback from now on; undefined: as before. */
  gatewayListen: WantedGatewayListen;
  /** What `auth` is for routes whose manifest does not say it, from now on; undefined: as before. */
  routesDefaultAuth: RoutesDefaultAuth | undefined;
  log: Logger;
}

/** A running agent. */
export interface Agent {
  /** Stops every replica and the platform, in the order that loses nothing; replicas stay wanted. */
  shutdown(): Promise<void>;
  /** Resolves when the agent has shut down. */
  readonly ended: Promise<void>;
}

/**
 * Starts an agent: takes the installation, adopts or starts every replica, answers on its socket, and keeps PostgreSQL,
 * server and data plane.
 * @throws HmsError ABORTED if another agent has the installation, UNAVAILABLE if the gateway's port is taken.
 */
export async function openAgent(options: AgentOptions): Promise<Agent> {
  const { paths, gatewayPort, apart: wanted, listen, gatewayListen, routesDefaultAuth, log } = options;
  for (const folder of [paths.data, paths.run, paths.config]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o700);
  }
  await using stack = new AsyncDisposableStack();
  stack.use(takeInstanceLock(paths));
  const host = hostEnvironment();
  const network = await allocateNetwork(paths, gatewayPort);
  keepGatewayListen(gatewayListen, paths);
  if (routesDefaultAuth !== undefined) writeRoutesDefaultAuth(paths, routesDefaultAuth);
  const before = readApart(paths);
  const apart = wanted ?? before;
  const listeners = new ListenerKeeper();
  await listeners.inherit();
  const platform = createPlatform({ paths, network, host, apart, listeners, log });
  const isOurs = listeners.has({ protocol: "tcp", address: "127.0.0.1", port: network.gatewayPort });
  if (!isOurs && !platform.isRunning("dataplane")) await requireGatewayPort(network);

  const report = await probeIsolation(paths, host);
  const replicas = await openReplicaKeeper({ paths, network, host, report, warn: (message) => log.warn(message) });
  const end = Promise.withResolvers<void>();
  let stopping: Promise<void> | undefined;
  const shutdown = () => {
    stopping ??= stopAll().then(end.resolve, end.reject);
    return stopping;
  };
  const stopAll = async () => {
    log.info("stopping");
    await platform.stop("dataplane");
    try {
      await replicas.suspend();
    } finally {
      // Whatever a replica fails with: nothing else may be left behind.
      await platform.stop("server");
      await Promise.all(apart.map((part) => platform.stop(part)));
      await platform.stop("postgres");
    }
  };

  const kernel = openKernel(paths, stack, log);
  const stopSoon = () => void stopAfterAnswer(shutdown);
  kernel.register(agentService({ replicas, platform, report, data: paths.data, shutdown: stopSoon }));
  stack.use(await serveSocket(kernel, { path: paths.agentSocket }));
  await rearrange({ paths, before, apart, platform, log });
  await listenAt(listen, paths, platform);
  platform.start();
  const everything = stack.move();
  return { shutdown, ended: end.promise.then(() => everything.disposeAsync()) };
}

/** The caller gets its answer before its connection is closed. */
async function stopAfterAnswer(shutdown: () => Promise<void>): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await shutdown();
}

interface Arrangement {
  paths: InstancePaths;
  before: readonly PartName[];
  apart: readonly PartName[];
  platform: Platform;
  log: Logger;
}

/** Where parts are to run apart that did not, or the other way round, what runs of them is not adopted but ended. */
async function rearrange({ paths, before, apart, platform, log }: Arrangement): Promise<void> {
  if (String(before) === String(apart)) return;
  const retired = before.filter((part) => !apart.includes(part)).map((part) => partComponent(paths, part));
  await Promise.all([platform.endFound(["server"]), new Platform(retired, paths, log).endFound()]);
  writeApart(paths, apart);
}

/** A server that listens elsewhere than it is to is not adopted but ended. */
async function listenAt(listen: string | undefined, paths: InstancePaths, platform: Platform): Promise<void> {
  if (listen === undefined) return;
  const address = parseNetworkAddress(listen);
  if (address === readNetworkAddress(paths)) return;
  await platform.endFound(["server"]);
  writeNetworkAddress(paths, address);
}

/** Data planes follow within a second. */
function keepGatewayListen(wanted: WantedGatewayListen, paths: InstancePaths): void {
  if (wanted.http === undefined && wanted.https === undefined) return;
  // What was kept does not matter where both are given; a file that cannot be used is replaced then.
  const isWhole = wanted.http !== undefined && wanted.https !== undefined;
  const before = isWhole ? { http: [], https: [] } : readGatewayListen(paths);
  writeGatewayListen(paths, changedGatewayListen(before, wanted));
}

interface Surroundings {
  paths: InstancePaths;
  network: InstanceNetwork;
  host: HostEnvironment;
  apart: readonly PartName[];
  listeners: ListenerKeeper;
  log: Logger;
}

function createPlatform({ paths, network, host, apart, listeners, log }: Surroundings): Platform {
  const database = host.embedsDatabase ? [postgresComponent(paths)] : [];
  const parts = apart.map((part) => partComponent(paths, part));
  const specs = [
    dataplaneComponent(paths, { network, listeners }),
    ...database,
    ...parts,
    serverComponent(paths, apart),
  ];
  return new Platform(specs, paths, log);
}

function openKernel(paths: InstancePaths, stack: AsyncDisposableStack, log: Logger): Kernel {
  const audit = stack.use(
    openAuditSpool({
      directory: `${paths.audit}/agent`,
      maxBytes: spoolMaxBytes(hostEnvironment()),
      onChange: (accepts, reason) =>
        accepts
          ? log.info("the audit spool accepts events again")
          : log.error("the audit spool is full: nothing may change", { reason }),
    }),
  );
  const identity = createTokenIdentity([
    [ensureToken(paths.operatorToken), { kind: "operator", id: "operator" }],
    [ensureToken(paths.serverToken), componentPrincipal("server")],
  ]);
  // Made before the data plane needs it: only the agent and the server know it.
  ensureToken(paths.dataplaneToken);
  return new Kernel({ identity, policy: createAgentPolicy(), audit });
}
