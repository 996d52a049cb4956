export {
  type Caller,
  type CallerAnswer,
  CallerMemo,
  type CallerQuestion,
  type CallerSource,
  type KnownCaller,
  knownCaller,
} from "./caller.ts";
export type { Certificate } from "./certificate-set.ts";
export { createProxyEngine } from "./engine.ts";
export type { SharedLimits, SharedPlace } from "./limit-book.ts";
export type { ProxyEngine, ProxyEngineOptions, ProxyHandler, SecureServer } from "./proxy-engine.ts";
export { judgeArrival, RateLimiter, type RateTerms, type RateVerdict } from "./rate-limit.ts";
export type { FieldChanges, LimitScope, RouteAuth, RouteLimit, RouteRules } from "./route-rules.ts";
export {
  DEFAULT_TRAFFIC_POLICY,
  type EndpointEntry,
  type EndpointState,
  type RouteEntry,
  type RoutingTable,
  type ServiceEntry,
  type TrafficPolicy,
} from "./routing-table.ts";
export type { RequestDenial, RequestSample, SensorReadings } from "./sensors.ts";
export type { AnswerCounts, RevisionTraffic, ServiceLoad, ServiceTraffic } from "./service-traffic.ts";
export type { SplitMatch, SplitTerms, StickyKey } from "./split-terms.ts";
export type { GatewayTlsTerms } from "./tls-redirect.ts";
