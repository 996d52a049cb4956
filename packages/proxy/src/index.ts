export { createProxyEngine } from "./engine.ts";
export type { ProxyEngine, ProxyEngineOptions, ProxyHandler } from "./proxy-engine.ts";
export {
  DEFAULT_TRAFFIC_POLICY,
  type EndpointEntry,
  type EndpointState,
  type RouteEntry,
  type RoutingTable,
  type ServiceEntry,
  type TrafficPolicy,
} from "./routing-table.ts";
