import { randomBytes } from "node:crypto";
import type { Server } from "node:http";
import type { InstanceNetwork, InstancePaths } from "@hms/config";
import { ListenerSet, listenProblem } from "@hms/handover";
import { HmsError } from "@hms/kernel/errors";
import { createProxyEngine, type ProxyEngine } from "@hms/proxy";
import type { Logger } from "@hms/telemetry";
import { GatewayCallers } from "./callers/gateway-callers.ts";
import { RedisLimits } from "./limits/redis-limits.ts";
import { GatewayAddresses } from "./listeners/gateway-addresses.ts";
import { RememberedAddresses } from "./listeners/remembered-addresses.ts";
import { VirtualAddresses } from "./listeners/virtual-addresses.ts";
import { DnsForwarder } from "./names/dns-forwarder.ts";
import { HostResolvers } from "./names/host-resolvers.ts";
import { MeshNames } from "./names/mesh-names.ts";
import { NameService } from "./names/name-service.ts";
import { newQueryCounts } from "./names/query-counts.ts";
import { NodeReporter } from "./snapshot/node-reporter.ts";
import { routingTable } from "./snapshot/routing-table.ts";
import { SensorReport } from "./snapshot/sensor-report.ts";
import { ServerLink } from "./snapshot/server-link.ts";
import { SnapshotFeed } from "./snapshot/snapshot-feed.ts";
import { SnapshotHolder } from "./snapshot/snapshot-holder.ts";
import { SnapshotStore } from "./snapshot/snapshot-store.ts";
import { TrafficReport } from "./snapshot/traffic-report.ts";
import { nodeMetrics } from "./status/node-metrics.ts";
import { snapshotSummary } from "./status/snapshot-summary.ts";
import { createStatusServer } from "./status/status-server.ts";
import { challengeAnswer } from "./tls/challenge-answer.ts";
import { GatewayTls } from "./tls/gateway-tls.ts";

const LOCAL = "127.0.0.1";
const LOCAL_V6 = "::1";
/** What still runs when a data plane is replaced gets this long. */
const DRAIN_MS = 30_000;
/** A client that keeps a connection may have sent its next request already: it gets this long to arrive. */
const IDLE_GRACE_MS = 1000;

/** What a data plane is started with. */
export interface DataPlaneOptions {
  paths: InstancePaths;
  network: InstanceNetwork;
  /** Where gateways count limits together; undefined: each for itself. */
  redisUrl: string | undefined;
  log: Logger;
}

/** Gateway, mesh addresses and names of one installation, from the newest snapshot that is known. */
export class DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #engine: ProxyEngine;
  readonly #listeners = new ListenerSet();
  readonly #names = new MeshNames();
  readonly #queries = newQueryCounts();
  readonly #addresses: VirtualAddresses;
  readonly #nameService: NameService;
  readonly #gatewayAddresses: GatewayAddresses;
  readonly #tls: GatewayTls;
  readonly #link: ServerLink;
  readonly #callers: GatewayCallers;
  readonly #shared: { sharedLimits?: RedisLimits } = {};
  readonly #holder: SnapshotHolder;
  readonly #closed = new Map<string, string>();
  #reporter: NodeReporter | undefined;
  #feed: SnapshotFeed | undefined;
  #isServerConnected = false;
  #isRetiring = false;

  constructor(options: DataPlaneOptions) {
    const { paths, network, redisUrl, log } = options;
    const folder = `${paths.data}/dataplane`;
    const listeners = this.#listeners;
    this.#link = new ServerLink(paths);
    const callers = new GatewayCallers(this.#link);
    this.#callers = callers;
    if (redisUrl !== undefined) this.#shared = { sharedLimits: new RedisLimits(redisUrl) };
    const engine = createProxyEngine({
      edgeSocket: paths.edgeSocket,
      callers,
      onWaiting: () => this.#reporter?.reportTraffic(),
      challengeAnswer: (token) => challengeAnswer(paths.acmeChallenges, token),
      ...this.#shared,
    });
    this.#engine = engine;
    const gatewayAddresses = new GatewayAddresses({ paths, engine, listeners, log });
    this.#gatewayAddresses = gatewayAddresses;
    this.#tls = new GatewayTls({
      engine,
      listeners,
      folder: paths.gatewayTls,
      port: network.tlsPort,
      others: () => gatewayAddresses.https,
      log,
    });
    this.#options = options;
    this.#holder = new SnapshotHolder({
      store: new SnapshotStore(folder),
      apply: (content) => {
        engine.apply(routingTable(content));
        callers.want(content.services.some(({ routes }) => routes.some(({ auth }) => auth !== undefined)));
        this.#names.apply(content);
      },
      log,
    });
    const remembered = new RememberedAddresses(`${folder}/open-addresses.json`);
    this.#addresses = new VirtualAddresses({ engine, listeners, remembered, log });
    const resolvers = new HostResolvers((address) => address.startsWith(`${network.vipPrefix}.`));
    const forwarder = new DnsForwarder(() => resolvers.list());
    this.#nameService = new NameService({
      listeners,
      source: {
        names: this.#names,
        open: (service) => this.#addresses.open(service),
        forward: (packet, protocol) => forwarder.ask(packet, protocol),
        counts: this.#queries,
      },
      log,
    });
  }

  /** True once the agent's successor would find this process. */
  get isKept(): boolean {
    return this.#listeners.isKept;
  }

  /** The snapshot that is served; 0 if none. */
  get version(): bigint {
    return this.#holder.version;
  }

  /**
   * Serves from the disk first, then listens, then follows the server.
   * @throws HmsError UNAVAILABLE naming the holder if the gateway's port cannot be had.
   */
  async start(): Promise<void> {
    const { network } = this.#options;
    this.#holder.load();
    await this.#listeners.inherit();
    await this.#openGateway();
    await Promise.all([
      this.#openOptional("mesh proxy", this.#engine.createServer(this.#engine.forwardProxyHandler), network.proxyPort),
      this.#openOptional("status page", this.#statusServer(), network.metricsPort),
      this.#openMesh(),
      // TLS asks it where to listen.
      this.#gatewayAddresses.start().then(() => this.#tls.start()),
    ]);
    if (this.#holder.snapshot) this.#listeners.closeUnclaimed();
    this.#follow();
    this.#listeners.ready();
  }

  async #openGateway(): Promise<void> {
    await this.#openGatewayAt(LOCAL);
    // Browsers ask there first, with the session's cookie: a replica that had it would be the platform to them.
    await this.#openGatewayAt(LOCAL_V6);
  }

  async #openGatewayAt(address: string): Promise<void> {
    const { gatewayPort } = this.#options.network;
    try {
      await this.#listeners.listen(this.#engine.createServer(this.#engine.gatewayHandler), address, gatewayPort);
    } catch (cause) {
      // Where there is no IPv6, nobody else can have it either.
      const isAbsent = ["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes((cause as NodeJS.ErrnoException).code ?? "");
      if (address === LOCAL_V6 && isAbsent) return;
      const problem = listenProblem(cause, { protocol: "tcp", address, port: gatewayPort });
      const remedy = `Stop it, or choose another port: hms-sys up --port ${gatewayPort + 80}`;
      throw new HmsError("UNAVAILABLE", `The gateway cannot listen: ${problem} ${remedy}`, { cause });
    }
  }

  async #openOptional(what: string, server: Server, port: number): Promise<void> {
    try {
      await this.#listeners.listen(server, LOCAL, port);
    } catch (error) {
      const problem = listenProblem(error, { protocol: "tcp", address: LOCAL, port });
      this.#closed.set(what, `the ${what} cannot listen: ${problem}`);
      this.#options.log.error(`the ${what} cannot listen; everything else goes on: ${problem}`);
    }
  }

  async #openMesh(): Promise<void> {
    await this.#nameService.apply(this.#holder.content.environments);
    await this.#addresses.apply(this.#names.all(), this.#holder.content.environments);
  }

  #follow(): void {
    const { log } = this.#options;
    const link = this.#link;
    const nodeId = `${process.pid}-${randomBytes(4).toString("hex")}`;
    const reporter = new NodeReporter({
      link,
      nodeId,
      appliedVersion: () => this.#holder.version,
      drainingInFlight: () => this.#engine.drainingInFlight(),
      traffic: new TrafficReport(() => this.#engine.traffic()),
      sensors: new SensorReport(this.#engine),
      onOutcome: (reached) => this.#noteServer(reached),
    });
    this.#engine.onDrained(() => reporter.look());
    this.#reporter = reporter;
    this.#feed = new SnapshotFeed({
      link,
      nodeId,
      known: () => ({ version: this.#holder.version, sha256: this.#holder.snapshot?.sha256 ?? new Uint8Array() }),
      take: async (snapshot) => {
        this.#holder.take(snapshot);
        if (!this.#isRetiring) await this.#openMesh();
        this.#listeners.closeUnclaimed();
        reporter.report();
      },
      onOpen: () => reporter.reportAll(),
      log,
    });
  }

  #noteServer(isConnected: boolean): void {
    if (this.#isServerConnected === isConnected) return;
    this.#isServerConnected = isConnected;
    const snapshot = String(this.#holder.version);
    if (isConnected) this.#options.log.info("the server is there", { snapshot });
    else this.#options.log.warn("the server is away; serving goes on", { snapshot });
  }

  #statusServer(): Server {
    return createStatusServer({
      metrics: () => this.#engine.metrics() + this.#callers.metrics() + this.#tls.metrics + this.#nodeMetrics(),
      health: () => this.#health(),
      snapshot: () =>
        snapshotSummary(this.#holder.snapshot, this.#holder.content, {
          isOpen: (service) => this.#addresses.isOpen(service),
          inFlight: (endpointId) => this.#engine.inFlight(endpointId),
        }),
    });
  }

  #nodeMetrics(): string {
    return nodeMetrics({
      snapshotVersion: this.#holder.version,
      isServerConnected: this.#isServerConnected,
      openAddresses: this.#addresses.size,
      queries: this.#queries,
    });
  }

  #health(): object {
    const namesProblem = this.#nameService.problem;
    const problems = [
      ...this.#closed.values(),
      ...this.#gatewayAddresses.problems,
      ...this.#tls.problems,
      ...this.#callers.problems,
      ...[this.#shared.sharedLimits?.problem ?? []].flat(),
      ...this.#addresses.problems,
      ...this.#holder.problems,
    ];
    return {
      status: problems.length === 0 ? "ok" : "degraded",
      pid: process.pid,
      snapshot: String(this.#holder.version),
      server: this.#isServerConnected ? "connected" : "away",
      names: namesProblem === undefined ? { tier: "dns" } : { tier: "proxy", problem: namesProblem },
      problems,
    };
  }

  /**
   * Stops accepting without losing a connection that waits, lets what runs finish for up to 30 s, and idle connections
   * bring a request that is under way.
   */
  async stop(): Promise<void> {
    this.#isRetiring = true;
    this.#gatewayAddresses.stop();
    this.#tls.stop();
    this.#holder.stopSaving();
    this.#engine.retire();
    await this.#listeners.stop();
    await Promise.all([
      this.#engine.close({ graceMs: DRAIN_MS, idleGraceMs: IDLE_GRACE_MS }),
      this.#nameService.stop(),
    ]);
    this.#feed?.close();
    this.#callers.close();
    await this.#shared.sharedLimits?.[Symbol.asyncDispose]();
    await this.#reporter?.close();
  }
}
