import type { Server } from "node:http";
import { Server as NetServer } from "node:net";
import type { SecureTerms } from "./certificate-set.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { Endpoint } from "./endpoint.ts";
import { exposeMetrics } from "./exposition.ts";
import { type FrontendContext, HttpFrontend } from "./http-frontend.ts";
import type { Http2Frontend } from "./http2-frontend.ts";
import { PlatformEdge } from "./platform-edge.ts";
import type { ProxyEngine, ProxyEngineOptions, ProxyHandler, SecureServer } from "./proxy-engine.ts";
import { ForwardProxyRouter, GatewayRouter, type Router, ServiceRouter } from "./request-routing.ts";
import { ResponseCache } from "./response-cache.ts";
import type { RoutingTable } from "./routing-table.ts";
import { RunningCallers } from "./running-callers.ts";
import { type SensorReadings, Sensors } from "./sensors.ts";
import type { Service } from "./service.ts";
import { type ServiceTraffic, trafficOf } from "./service-traffic.ts";
import { TableState } from "./table-state.ts";
import type { GatewayTlsTerms } from "./tls-redirect.ts";

const SWEEP_MS = 100;
const DEFAULT_GRACE_MS = 10_000;

/** Builds a proxying engine without routes; it listens nowhere by itself and keeps no process alive. */
export function createProxyEngine(options: ProxyEngineOptions = {}): ProxyEngine {
  return new Engine(options);
}

class Engine implements ProxyEngine, FrontendContext {
  readonly maxHeadBytes: number;
  readonly maxRequestBodyBytes: number;
  readonly idleBodyTimeoutMs: number;
  readonly clients = new Set<ClientConnection>();
  readonly http2 = new Set<Http2Frontend>();
  readonly clientIdleTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  readonly cache = new ResponseCache();
  readonly running = new RunningCallers();
  readonly sensors = new Sensors();
  tls: GatewayTlsTerms | undefined;
  readonly gatewayHandler: GatewayRouter;
  readonly forwardProxyHandler: ForwardProxyRouter;
  readonly #tunnelGraceMs: number;
  readonly #table: TableState;
  readonly #edge: PlatformEdge | undefined;
  readonly #servers = new Set<Server>();
  readonly #drainListeners = new Set<(endpointId: string) => void>();
  readonly #refusals = new Map<number, number>();
  readonly #sweeper: NodeJS.Timeout;
  #idleGraceMs = 0;
  #retiredAt = Number.POSITIVE_INFINITY;

  constructor(options: ProxyEngineOptions) {
    this.maxHeadBytes = options.maxHeadBytes ?? 32 * 1024;
    this.maxRequestBodyBytes = options.maxRequestBodyBytes ?? Number.POSITIVE_INFINITY;
    this.idleBodyTimeoutMs = options.idleBodyTimeoutMs ?? 60_000;
    this.clientIdleTimeoutMs = options.clientIdleTimeoutMs ?? 120_000;
    this.handshakeTimeoutMs = options.handshakeTimeoutMs ?? 10_000;
    this.#tunnelGraceMs = options.tunnelGraceMs ?? 10_000;
    this.#table = new TableState(this.maxHeadBytes, options);
    this.#edge = options.edgeSocket === undefined ? undefined : new PlatformEdge(options.edgeSocket, this.maxHeadBytes);
    this.gatewayHandler = new GatewayRouter(this.#table, this.#edge, options.challengeAnswer);
    this.forwardProxyHandler = new ForwardProxyRouter(this.#table, this.maxHeadBytes);
    options.callers?.follow?.((names) => this.running.changed(names));
    this.#sweeper = setInterval(() => this.#sweep(performance.now()), SWEEP_MS).unref();
  }

  apply(table: RoutingTable): void {
    this.#table.apply(table, performance.now());
    this.cache.clear();
  }

  useTls(terms: GatewayTlsTerms | undefined): void {
    this.tls = terms;
    this.gatewayHandler.useTls(terms);
  }

  serviceHandler(environment: string, service: string): ProxyHandler {
    return new ServiceRouter(this.#table.service(environment, service));
  }

  createServer(handler: ProxyHandler): Server {
    return this.#keep(new HttpFrontend(this, handler as Router));
  }

  createSecureServer(handler: ProxyHandler, tls: SecureTerms): SecureServer {
    const frontend = new HttpFrontend(this, handler as Router, tls);
    this.#keep(frontend);
    return frontend;
  }

  #keep({ server }: HttpFrontend): Server {
    this.#servers.add(server);
    server.on("close", () => this.#servers.delete(server));
    return server;
  }

  inFlight(endpointId: string): number {
    return this.#table.endpoints.get(endpointId)?.inFlight ?? 0;
  }

  drainingInFlight(): Map<string, number> {
    const draining = new Map<string, number>();
    for (const { id, state, inFlight } of this.#table.endpoints.values()) {
      if (state === "draining" && inFlight > 0) draining.set(id, inFlight);
    }
    return draining;
  }

  onDrained(listener: (endpointId: string) => void): () => void {
    this.#drainListeners.add(listener);
    return () => this.#drainListeners.delete(listener);
  }

  onEndpointLeft(endpoint: Endpoint): void {
    if (endpoint.state === "active" || endpoint.inFlight > 0) return;
    this.#table.forgetIfDone(endpoint);
    for (const listener of this.#drainListeners) listener(endpoint.id);
  }

  countRefusal(status: number): void {
    this.#refusals.set(status, (this.#refusals.get(status) ?? 0) + 1);
  }

  traffic({ everyRevision = false } = {}): ServiceTraffic[] {
    const now = performance.now();
    return [...this.#table.services.values()].map((service) => trafficOf(service, now, everyRevision));
  }

  takeSensors(): SensorReadings {
    return this.sensors.take();
  }

  metrics(): string {
    return exposeMetrics({
      services: [...this.#table.services.values(), this.forwardProxyHandler.outside, ...this.#edgeServices()],
      refusals: this.#refusals,
      clientConnections: this.clients.size,
    });
  }

  get isClosing(): boolean {
    return this.#retiredAt !== Number.POSITIVE_INFINITY;
  }

  retire(): void {
    if (!this.isClosing) this.#retiredAt = performance.now();
    this.#idleGraceMs = Number.POSITIVE_INFINITY;
    for (const http2 of this.http2) http2.retire();
  }

  async close({ graceMs = DEFAULT_GRACE_MS, idleGraceMs = 0 } = {}): Promise<void> {
    this.retire();
    this.#idleGraceMs = idleGraceMs;
    const cut = setTimeout(() => this.#cutClients(), graceMs);
    const closed = Promise.all([...this.#servers].map(closeServer));
    this.#sweep(performance.now());
    await closed;
    clearTimeout(cut);
    clearInterval(this.#sweeper);
    this.#cutClients();
    this.#edge?.close();
    for (const endpoint of this.#allEndpoints()) for (const connection of endpoint.connections) connection.destroy();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #cutClients(): void {
    for (const http2 of this.http2) http2.cut();
    for (const { socket } of this.clients) socket.destroy();
  }

  *#allEndpoints(): Iterable<Endpoint> {
    yield* this.#table.endpoints.values();
    yield* this.forwardProxyHandler.outsideEndpoints();
    for (const { endpoints } of this.#edgeServices()) yield* endpoints;
  }

  #edgeServices(): readonly Service[] {
    return this.#edge === undefined ? [] : [this.#edge.service];
  }

  #sweep(now: number): void {
    for (const endpoint of this.#allEndpoints()) {
      endpoint.closeExpired(now);
      const cutsTunnels = endpoint.state === "draining" && now - endpoint.drainingSince > this.#tunnelGraceMs;
      for (const connection of endpoint.connections) {
        if (connection.deadlineAt <= now) connection.expire();
        else if (cutsTunnels && connection.isTunnel) connection.fail("closed", "the endpoint drains");
      }
    }
    this.running.sweep(now);
    this.#sweepClients(now);
  }

  #sweepClients(now: number): void {
    // Those that came while it was closing.
    if (this.isClosing) for (const http2 of this.http2) http2.retire();
    const limit = this.isClosing ? this.#idleGraceMs : this.clientIdleTimeoutMs;
    for (const { user, idleSince, socket } of this.clients) {
      const since = this.isClosing ? Math.max(idleSince, this.#retiredAt) : idleSince;
      if (user === null && now - since >= limit) socket.destroy();
    }
  }
}

/** Stops listening; the HTTP server's own `close` would cut connections on which a request is under way. */
function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => NetServer.prototype.close.call(server, () => resolve()));
}
