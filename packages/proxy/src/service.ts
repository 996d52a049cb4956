import { Balancer } from "./balancer.ts";
import { Division } from "./division.ts";
import type { Endpoint } from "./endpoint.ts";
import { LoadMeter } from "./load-meter.ts";
import { RouteMetrics, ServiceMetrics } from "./metrics-registry.ts";
import { RetryBudget } from "./retry-policy.ts";
import { RevisionCounts } from "./revision-counts.ts";
import type { RouteGate } from "./route-gate.ts";
import { DEFAULT_TRAFFIC_POLICY, type TrafficPolicy } from "./routing-table.ts";
import { RequestDealer } from "./split-choice.ts";
import type { SplitTerms } from "./split-terms.ts";
import { WaitingRoom } from "./waiting-room.ts";

/** What a service's requests wait by. */
interface ServiceSurroundings {
  /** So long for a replica where one is expected. */
  patienceMs?: number;
  /** Called when the first one begins to wait for a replica that it starts. */
  onWaiting?: (() => void) | undefined;
}

/** The lasting state of one service; a new table changes its fields, never the object. */
export class Service {
  readonly environment: string;
  readonly name: string;
  readonly budget = new RetryBudget();
  readonly metrics = new ServiceMetrics();
  readonly load = new LoadMeter();
  /** What is counted of each revision that has endpoints, by its number. */
  revisions: ReadonlyMap<number, RevisionCounts> = new Map();
  /** By route path; "" is the mesh. */
  readonly routes = new Map<string, RouteMetrics>();
  readonly meshRoute: RouteMetrics;
  policy: TrafficPolicy = DEFAULT_TRAFFIC_POLICY;
  endpoints: readonly Endpoint[] = [];
  balancer = new Balancer<Endpoint>([]);
  /** null: all active endpoints share all requests. */
  division: Division | null = null;
  /** Whether what is counted of each revision is wanted. */
  isObserved = false;
  inFlight = 0;
  /** What a client is told while nobody of it accepts connections; default: that no replica is ready. */
  absence: string | null = null;
  readonly waitingRoom: WaitingRoom;
  readonly #dealer = new RequestDealer();
  #isMeantToRun = false;
  #hasBeenThere = false;

  constructor(environment: string, name: string, { patienceMs = 0, onWaiting = () => {} }: ServiceSurroundings = {}) {
    this.environment = environment;
    this.name = name;
    this.waitingRoom = new WaitingRoom(patienceMs, onWaiting);
    this.meshRoute = this.routeMetrics("");
  }

  /** True if there will be replicas again, as far as is known: requests may wait for them. */
  get expectsReplicas(): boolean {
    return this.#isMeantToRun && (this.#hasBeenThere || this.waitingRoom.wakes);
  }

  /**
   * Says whether replicas are meant to run; of a service that has never had one none is expected, unless a request starts
   * one within `wakeMs`.
   */
  expectReplicas(isMeantToRun: boolean, wakeMs = 0): void {
    this.#isMeantToRun = isMeantToRun;
    this.waitingRoom.wakeWithin(wakeMs);
  }

  /** A request has come. */
  noteBegin(now: number): void {
    this.inFlight++;
    this.load.begin(now);
    this.budget.deposit();
  }

  /** The counters of a route; the same ones as long as the process lives. */
  routeMetrics(route: string): RouteMetrics {
    let metrics = this.routes.get(route);
    if (!metrics) {
      metrics = new RouteMetrics({ environment: this.environment, service: this.name, route });
      this.routes.set(route, metrics);
    }
    return metrics;
  }

  /** Balances over these endpoints from now on, divided as the split says; those that drain get nothing new. */
  useEndpoints(endpoints: readonly Endpoint[], split?: SplitTerms): void {
    this.endpoints = endpoints;
    this.#countByRevision();
    if (endpoints.length > 0) this.#hasBeenThere = true;
    const active = endpoints.filter((endpoint) => endpoint.state === "active");
    this.balancer = new Balancer(active);
    const { environment, name, metrics } = this;
    const scope = { environment, name, metrics, dealer: this.#dealer };
    this.division = split === undefined ? null : new Division(split, active, scope);
  }

  #countByRevision(): void {
    const revisions = new Map<number, RevisionCounts>();
    for (const endpoint of this.endpoints) {
      const { revision } = endpoint;
      const counts = revisions.get(revision) ?? this.revisions.get(revision) ?? new RevisionCounts(revision);
      revisions.set(revision, counts);
      endpoint.counts = counts;
    }
    this.revisions = revisions;
  }
}

/** Where a request goes and which route it counts for. */
export interface RouteTarget {
  service: Service;
  metrics: RouteMetrics;
  /** What the route demands of callers; null: nothing. */
  gate: RouteGate | null;
}
