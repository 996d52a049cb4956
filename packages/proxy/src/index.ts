export type { Certificate } from "./certificate-set.ts";
export { createProxyEngine } from "./engine.ts";
export type { ProxyEngine, ProxyEngineOptions, ProxyHandler, SecureServer } from "./proxy-engine.ts";
export {
  DEFAULT_TRAFFIC_POLICY,
  type EndpointEntry,
  type EndpointState,
  type RouteEntry,
  type RoutingTable,
  type ServiceEntry,
  type TrafficPolicy,
} from "./routing-table.ts";
