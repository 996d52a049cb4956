import { clientSubnet } from "./client-network.ts";
import type { Endpoint } from "./endpoint.ts";
import type { ErrorReply } from "./error-reply.ts";
import type { ExchangeInput } from "./exchange-input.ts";
import { type Kept, Reservoir } from "./reservoir.ts";
import type { RouteTarget } from "./service.ts";

/** One request of many, when it has ended. Nothing of its path, query, fields or body beyond the route's pattern. */
export interface RequestSample {
  environment: string;
  service: string;
  /** Of the endpoint that answered, or was tried last; 0: none was. */
  revision: number;
  /** "": none was. */
  endpointId: string;
  method: string;
  /** The route's pattern; "": it came through the mesh. */
  route: string;
  /** 0: the client went away before there was one. */
  status: number;
  /** From the request's arrival to the answer's head, waiting and other attempts included; 0: there was none. */
  headMs: number;
  /** Of its trace, 32 hex digits; "": there is none. */
  traceId: string;
  /** In milliseconds since 1970. */
  endedAt: number;
}

/** One of many requests that a route's rules have refused. */
export interface RequestDenial {
  environment: string;
  service: string;
  method: string;
  /** The route's pattern. */
  route: string;
  status: number;
  /** Which rule refused: "credentials", "roles", "limit:address", … */
  rule: string;
  /** "" if nobody known called. */
  principal: string;
  /** Of the client: the first 24 bits of IPv4, 64 of IPv6. */
  network: string;
  endedAt: number;
}

/** What was sampled of requests and of denials. */
export interface SensorReadings {
  requests: Kept<RequestSample>;
  denials: Kept<RequestDenial>;
}

/** So many of each are kept between two readings. */
const KEPT = 10;

/** What an engine samples. */
export class Sensors {
  readonly requests = new Reservoir<RequestSample>(KEPT);
  readonly denials = new Reservoir<RequestDenial>(KEPT);

  /** What was sampled since this was asked last. */
  take(): SensorReadings {
    return { requests: this.requests.take(), denials: this.denials.take() };
  }
}

const TRACE = /\r\ntraceparent: 00-([0-9a-f]{32})-/;

/** How a request came out. */
interface ExchangeEnd {
  /** The one that was tried last; null: none was. */
  endpoint: Endpoint | null;
  status: number;
  headMs: number;
}

type Ended = Pick<ExchangeInput, "context" | "target" | "request" | "forwardedHead">;

/**
 * Counts a request that has ended; true: it is one to be kept, by `keepSample`. The platform's own edge and hosts outside
 * are no services of the mesh.
 */
export function isSampled({ context, target }: Ended): boolean {
  return target.service.environment !== "" && context.sensors.requests.isDue();
}

/** Keeps what is told of a request that has ended. */
export function keepSample(
  { context, target, request, forwardedHead }: Ended,
  { endpoint, status, headMs }: ExchangeEnd,
): void {
  context.sensors.requests.keep({
    environment: target.service.environment,
    service: target.service.name,
    revision: endpoint?.revision ?? 0,
    endpointId: endpoint?.id ?? "",
    method: request.method as string,
    route: target.metrics.route,
    status,
    headMs,
    traceId: TRACE.exec(forwardedHead)?.[1] ?? "",
    endedAt: Date.now(),
  });
}

/** What is told of a request that a rule has refused. */
export function denialOf(
  { service, metrics }: RouteTarget,
  visitor: { method: string; address: string; principal: string },
  { status, rule = "" }: ErrorReply,
): RequestDenial {
  return {
    environment: service.environment,
    service: service.name,
    method: visitor.method,
    route: metrics.route,
    status,
    rule,
    principal: visitor.principal,
    network: clientSubnet(visitor.address),
    endedAt: Date.now(),
  };
}
