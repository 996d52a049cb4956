import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { InstanceNetwork, InstancePaths } from "@hms/config";
import { mesh } from "@hms/contracts";
import { ListenerSet } from "@hms/handover";
import { createClient } from "@hms/kernel";
import { readToken } from "@hms/local-access";
import { createProxyEngine, type ProxyEngine } from "@hms/proxy";
import type { Logger } from "@hms/telemetry";
import { connectSocket } from "@hms/wire";
import { VirtualAddresses } from "./listeners/virtual-addresses.ts";
import { DnsForwarder } from "./names/dns-forwarder.ts";
import { createTcpNameServer, serveUdp } from "./names/dns-server.ts";
import { MeshNames } from "./names/mesh-names.ts";
import { routingTable } from "./snapshot/routing-table.ts";
import { SnapshotFeed } from "./snapshot/snapshot-feed.ts";
import { checkedContent, SnapshotStore } from "./snapshot/snapshot-store.ts";

const LOCAL = "127.0.0.1";
const DNS_PORT = 53;
/** What still runs when a data plane is replaced gets this long. */
const DRAIN_MS = 30_000;
/** Clients that send less often than this open a new connection for the next request anyway. */
const IDLE_MS = 5_000;

/** What a data plane is started with. */
export interface DataPlaneOptions {
  paths: InstancePaths;
  network: InstanceNetwork;
  log: Logger;
}

/** Gateway, mesh addresses and names of one installation, from the newest snapshot that is known. */
export class DataPlane {
  readonly #options: DataPlaneOptions;
  readonly #engine: ProxyEngine = createProxyEngine();
  readonly #names = new MeshNames();
  readonly #listeners = new ListenerSet();
  readonly #addresses: VirtualAddresses;
  readonly #store: SnapshotStore;
  readonly #nameServers = new Set<string>();
  #nameProblem = "";
  #version = 0n;
  #feed: SnapshotFeed | undefined;

  constructor(options: DataPlaneOptions) {
    const folder = `${options.paths.data}/dataplane`;
    const { log } = options;
    this.#options = options;
    this.#store = new SnapshotStore(folder);
    this.#addresses = new VirtualAddresses({
      engine: this.#engine,
      listeners: this.#listeners,
      file: `${folder}/open-addresses.json`,
      log,
    });
  }

  /** True once the agent's successor would find this process. */
  get isKept(): boolean {
    return this.#listeners.isKept;
  }

  /** Serves from the disk first, then listens, then follows the server. Rejects if the gateway cannot listen. */
  async start(): Promise<void> {
    const { network, log } = this.#options;
    const { snapshot, spoilt } = this.#store.load();
    for (const reason of spoilt) log.error("a snapshot on disk cannot be used", { reason });
    await this.#listeners.inherit();
    if (snapshot) await this.#serve(snapshot);
    const { gatewayHandler, forwardProxyHandler } = this.#engine;
    await this.#listeners.listen(this.#engine.createServer(gatewayHandler), LOCAL, network.gatewayPort);
    await this.#optional(this.#engine.createServer(forwardProxyHandler), network.proxyPort, "mesh proxy");
    await this.#openRemembered();
    this.#follow();
    await this.#optional(this.#statusServer(), network.metricsPort, "metrics");
    this.#listeners.ready();
  }

  async #optional(server: Server, port: number, what: string): Promise<void> {
    try {
      await this.#listeners.listen(server, LOCAL, port);
    } catch (error) {
      this.#options.log.error(`the ${what} cannot listen; everything else goes on`, { port, error });
    }
  }

  async #serve(snapshot: mesh.Snapshot): Promise<void> {
    const content = checkedContent(snapshot);
    this.#engine.apply(routingTable(content));
    this.#names.apply(content);
    this.#version = snapshot.version;
    for (const environment of content.environments) await this.#serveNames(environment);
  }

  async #serveNames({ name, dnsAddress }: mesh.MeshEnvironment): Promise<void> {
    if (this.#nameServers.has(dnsAddress)) return;
    this.#nameServers.add(dnsAddress);
    const source = {
      owns: (asked: string) => this.#names.owns(asked),
      meaningOf: async (asked: string) => {
        const service = this.#names.find(name, asked);
        if (service === undefined) return "unknown" as const;
        await this.#addresses.open(service);
        return { address: service.vip };
      },
      forwarder: new DnsForwarder((address) => address.startsWith(`${this.#options.network.vipPrefix}.`)),
    };
    try {
      serveUdp(await this.#listeners.bind(dnsAddress, DNS_PORT), source);
      await this.#listeners.listen(createTcpNameServer(source), dnsAddress, DNS_PORT);
    } catch (error) {
      this.#nameProblem = (error as Error).message;
      this.#options.log.warn("mesh names cannot be served by DNS; programs find the mesh by proxy variables", {
        error,
      });
    }
  }

  async #openRemembered(): Promise<void> {
    const remembered = this.#addresses.remembered();
    const services = [...this.#names.all()].filter(({ environment, name }) => remembered.has(`${environment}/${name}`));
    await Promise.allSettled(services.map((service) => this.#addresses.open(service)));
  }

  #follow(): void {
    const { paths, log } = this.#options;
    const transport = connectSocket({ path: paths.kernelSocket, token: readToken(paths.dataplaneToken) });
    const feed = new SnapshotFeed({
      client: createClient(mesh.MeshService, transport),
      nodeId: `${process.pid}-${randomBytes(4).toString("hex")}`,
      knownVersion: this.#version,
      apply: async (snapshot) => {
        checkedContent(snapshot);
        this.#store.save(snapshot);
        await this.#serve(snapshot);
      },
      drainingInFlight: () => this.#engine.drainingInFlight(),
      log,
    });
    this.#engine.onDrained(() => feed.changed());
    this.#feed = feed;
  }

  #statusServer(): Server {
    return createServer((request, response) => {
      if (request.url === "/metrics") {
        response.setHeader("content-type", "text/plain; version=0.0.4");
        return response.end(this.#engine.metrics());
      }
      if (request.url !== "/healthz") return response.writeHead(404).end();
      response.setHeader("content-type", "application/json");
      const names = this.#nameProblem === "" ? "dns" : `proxy: ${this.#nameProblem}`;
      return response.end(JSON.stringify({ pid: process.pid, snapshot: String(this.#version), names }));
    });
  }

  /**
   * Stops accepting and lets what runs finish, for up to 30 s. `patient`: another process has taken over, so clients
   * with idle connections get the time for one more request, which tells them to connect anew.
   */
  async stop(patient: boolean): Promise<void> {
    this.#listeners.stop();
    await this.#engine.close({ graceMs: DRAIN_MS, idleGraceMs: patient ? IDLE_MS : 0 });
    this.#feed?.close();
  }
}
