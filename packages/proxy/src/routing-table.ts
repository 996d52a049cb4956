import type { RouteRules } from "./route-rules.ts";
import type { SplitTerms } from "./split-terms.ts";

/** Whether an endpoint gets new requests (`active`) or only finishes those it has (`draining`). */
export type EndpointState = "active" | "draining";

/** One replica as traffic sees it; its id is its identity across tables. */
export interface EndpointEntry {
  id: string;
  /** A literal address or a name that the system resolves. */
  host: string;
  port: number;
  /** A unix socket instead of host and port. */
  socketPath?: string;
  /** Outside of the mesh, asked for by a program of this machine; default: no. */
  isOutside?: boolean;
  state: EndpointState;
  /** Share of traffic against the service's other active endpoints; 0 gets none, equal weights share by latency. */
  weight: number;
  revision: number;
}

/** One public path of a service at the gateway. */
export interface RouteEntry {
  /** "/receipt" exactly, "/users/{id}" for one segment, "/files/*" for everything below. */
  path: string;
  /** Upper case; empty: all methods. HEAD is allowed where GET is. */
  methods: readonly string[];
  /** What it demands of callers; default: nothing. */
  rules?: RouteRules;
}

/** How requests to a service are treated. */
export interface TrafficPolicy {
  /** Until the response head, counted from the last byte of the request, in milliseconds. */
  requestTimeoutMs: number;
  /** Until the connection stands, in milliseconds. */
  connectTimeoutMs: number;
  /** Further attempts after the first, for requests that may be repeated. */
  retries: number;
  /** Repeat POST and PATCH as if they were idempotent. */
  retryPost: boolean;
  /** A body that makes no progress for this long ends its exchange, in milliseconds; default: the engine's. */
  idleBodyTimeoutMs?: number;
  /** Default: endpoints that answer badly go on getting requests. */
  breaker?: BreakerTerms;
}

/** When an endpoint that answers badly gets no requests for a while. */
export interface BreakerTerms {
  /** So many in a row: no answer in time, a broken one, or 502, 503 or 504. */
  failures: number;
  /** For so long; then one request tries. */
  openMs: number;
}

/** What a service gets whose entry says nothing: 30 s, 1 s, one further attempt, POST never repeated. */
export const DEFAULT_TRAFFIC_POLICY: TrafficPolicy = {
  requestTimeoutMs: 30_000,
  connectTimeoutMs: 1_000,
  retries: 1,
  retryPost: false,
};

/** One service of the mesh, known by environment and name. */
export interface ServiceEntry {
  environment: string;
  name: string;
  endpoints: readonly EndpointEntry[];
  /** Replicas are meant to run: while none accepts connections requests wait for one, up to 10 s. Default: no. */
  expectsReplicas?: boolean;
  /** A request starts a replica if there is none, and waits for it so long, in milliseconds. Default 0: it starts none. */
  wakeMs?: number;
  routes: readonly RouteEntry[];
  policy: TrafficPolicy;
  /** Default: all active endpoints share all requests. */
  split?: SplitTerms;
  /** Whether what is counted of each revision is wanted without a split, too; default: no. */
  isObserved?: boolean;
}

/** The whole traffic picture; a new one replaces the old one at once. */
export interface RoutingTable {
  environments: readonly { name: string }[];
  services: readonly ServiceEntry[];
}
