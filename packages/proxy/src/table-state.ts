import { HmsError } from "@hms/kernel";
import type { CallerSource } from "./caller.ts";
import { Endpoint } from "./endpoint.ts";
import type { SharedLimits } from "./limit-book.ts";
import { LimitBook } from "./limit-book.ts";
import { RouteGate } from "./route-gate.ts";
import { type RouteInput, RouteMatcher } from "./route-matcher.ts";
import type { EndpointEntry, RouteEntry, RoutingTable, ServiceEntry } from "./routing-table.ts";
import { type RouteTarget, Service } from "./service.ts";
import { SHARES } from "./split-choice.ts";

const DEFAULT_PATIENCE_MS = 10_000;

interface TableSurroundings {
  callers?: CallerSource | undefined;
  sharedLimits?: SharedLimits | undefined;
  replicaPatienceMs?: number | undefined;
  onWaiting?: (() => void) | undefined;
}

/** The routing table in force, and what outlives tables: services, and endpoints as long as something runs on them. */
export class TableState {
  readonly services = new Map<string, Service>();
  readonly endpoints = new Map<string, Endpoint>();
  readonly #maxHeadBytes: number;
  readonly #callers: CallerSource | undefined;
  readonly #limits: LimitBook;
  readonly #waits: { patienceMs: number; onWaiting: (() => void) | undefined };
  #inTable = new Set<Endpoint>();
  #matchers = new Map<string, RouteMatcher<RouteTarget>>();

  constructor(
    maxHeadBytes: number,
    { callers, sharedLimits, replicaPatienceMs = DEFAULT_PATIENCE_MS, onWaiting }: TableSurroundings = {},
  ) {
    this.#maxHeadBytes = maxHeadBytes;
    this.#callers = callers;
    this.#waits = { patienceMs: replicaPatienceMs, onWaiting };
    this.#limits = new LimitBook(sharedLimits);
  }

  /** The service of that name, whether or not the present table knows it. */
  service(environment: string, name: string): Service {
    const key = serviceKey(environment, name);
    let service = this.services.get(key);
    if (!service) {
      service = new Service(environment, name, this.#waits);
      this.services.set(key, service);
    }
    return service;
  }

  /** The service of that name if the present table knows it, or has known it. */
  knownService(environment: string, name: string): Service | undefined {
    return this.services.get(serviceKey(environment, name));
  }

  /** An environment's routes, or undefined if the table does not know the environment. */
  matcher(environment: string): RouteMatcher<RouteTarget> | undefined {
    return this.#matchers.get(environment);
  }

  /** Replaces the table. Raises INVALID_ARGUMENT, having changed nothing, if the new one contradicts itself. */
  apply(table: RoutingTable, now: number): void {
    checkTable(table);
    this.#matchers = this.#compileMatchers(table);
    const before = this.#inTable;
    this.#inTable = new Set();
    const known = new Set<Service>();
    for (const entry of table.services) {
      const service = this.service(entry.environment, entry.name);
      known.add(service);
      service.policy = entry.policy;
      service.expectReplicas(entry.expectsReplicas ?? false, entry.wakeMs);
      service.isObserved = entry.isObserved === true || entry.split !== undefined;
      const endpoints = entry.endpoints.map((endpoint) => this.#useEndpoint(endpoint, now));
      service.useEndpoints(endpoints, entry.split);
    }
    for (const service of this.services.values()) {
      if (known.has(service)) continue;
      service.expectReplicas(false);
      service.useEndpoints([]);
    }
    for (const endpoint of before) if (!this.#inTable.has(endpoint)) this.#retire(endpoint, now);
  }

  /** Forgets an endpoint that has left the table once nothing runs on it. */
  forgetIfDone(endpoint: Endpoint): void {
    if (endpoint.inFlight === 0 && !this.#inTable.has(endpoint)) this.endpoints.delete(endpoint.id);
  }

  #useEndpoint(entry: EndpointEntry, now: number): Endpoint {
    let endpoint = this.endpoints.get(entry.id);
    if (endpoint) {
      endpoint.update(entry, now);
    } else {
      endpoint = new Endpoint(entry, this.#maxHeadBytes);
      this.endpoints.set(entry.id, endpoint);
    }
    this.#inTable.add(endpoint);
    return endpoint;
  }

  #retire(endpoint: Endpoint, now: number): void {
    endpoint.drain(now);
    this.forgetIfDone(endpoint);
  }

  #gate({ environment, name }: ServiceEntry, { path, methods, rules }: RouteEntry): RouteGate | null {
    if (rules === undefined) return null;
    const id = `${environment}/${name} ${methods.join(",")} ${path}`;
    return new RouteGate(rules, { environment, id, limits: this.#limits, callers: this.#callers });
  }

  #compileMatchers(table: RoutingTable): Map<string, RouteMatcher<RouteTarget>> {
    const routes = new Map<string, RouteInput<RouteTarget>[]>([["default", []]]);
    for (const { name } of table.environments) routes.set(name, []);
    for (const entry of table.services) {
      const list = routes.get(entry.environment) ?? [];
      routes.set(entry.environment, list);
      const service = this.service(entry.environment, entry.name);
      for (const route of entry.routes) {
        const { path, methods } = route;
        list.push({
          path,
          methods,
          target: { service, metrics: service.routeMetrics(path), gate: this.#gate(entry, route) },
        });
      }
    }
    this.#limits.settle();
    return new Map([...routes].map(([environment, list]) => [environment, new RouteMatcher(list)]));
  }
}

function serviceKey(environment: string, name: string): string {
  return `${environment}/${name}`;
}

function checkTable(table: RoutingTable): void {
  const services = new Set<string>();
  const endpoints = new Set<string>();
  for (const service of table.services) {
    const key = serviceKey(service.environment, service.name);
    if (services.has(key)) throw contradiction(`service ${key} is listed twice`);
    services.add(key);
    const { share } = service.split ?? { share: 0 };
    if (!(share >= 0 && share <= SHARES)) throw contradiction(`service ${key} has the share ${share} of ${SHARES}`);
    checkEndpoints(service, endpoints);
  }
}

function checkEndpoints(service: ServiceEntry, seen: Set<string>): void {
  for (const { id, port, weight } of service.endpoints) {
    if (seen.has(id)) throw contradiction(`endpoint ${id} is listed twice`);
    seen.add(id);
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw contradiction(`endpoint ${id} has port ${port}`);
    if (!Number.isFinite(weight) || weight < 0) throw contradiction(`endpoint ${id} has weight ${weight}`);
  }
}

function contradiction(what: string): HmsError {
  return new HmsError(
    "INVALID_ARGUMENT",
    `The routing table cannot be used: ${what}. The previous one stays in force.`,
    {
      reason: "ROUTING_TABLE_INVALID",
    },
  );
}
