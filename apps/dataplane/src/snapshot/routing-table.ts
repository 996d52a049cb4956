import { mesh } from "@hms/contracts";
import {
  DEFAULT_TRAFFIC_POLICY,
  type EndpointEntry,
  type RouteEntry,
  type RoutingTable,
  type SplitTerms,
  type StickyKey,
  type TrafficPolicy,
} from "@hms/proxy";

import { rulesOf } from "./route-rules.ts";

function policyOf(policy: mesh.TrafficPolicy | undefined): TrafficPolicy {
  if (policy === undefined) return DEFAULT_TRAFFIC_POLICY;
  return {
    requestTimeoutMs: Number(policy.requestTimeoutMs) || DEFAULT_TRAFFIC_POLICY.requestTimeoutMs,
    connectTimeoutMs: Number(policy.connectTimeoutMs) || DEFAULT_TRAFFIC_POLICY.connectTimeoutMs,
    retries: policy.retries ?? DEFAULT_TRAFFIC_POLICY.retries,
    retryPost: policy.retryPost,
    ...(policy.breaker
      ? { breaker: { failures: policy.breaker.failures, openMs: Number(policy.breaker.openMs) } }
      : {}),
  };
}

function endpointOf(endpoint: mesh.Endpoint): EndpointEntry {
  return {
    id: endpoint.endpointId,
    host: endpoint.host,
    port: endpoint.port,
    state: endpoint.state === mesh.EndpointState.DRAINING ? "draining" : "active",
    weight: endpoint.weight ?? 1000,
    revision: Number(endpoint.revision),
  };
}

function routeOf(route: mesh.Route): RouteEntry {
  const { path, methods } = route;
  const rules = rulesOf(route);
  return Object.keys(rules).length === 0 ? { path, methods } : { path, methods, rules };
}

function splitOf({ revision, share, matches, sticky }: mesh.TrafficSplit): SplitTerms {
  return {
    revision: Number(revision),
    share,
    // A kind of match of a newer version fits nothing: the baseline is the safe side.
    matches: matches.flatMap(({ of: match }) =>
      match.case === undefined ? [] : [{ in: match.case, name: match.value.name, value: match.value.value }],
    ),
    sticky: stickyOf(sticky),
  };
}

function stickyOf(sticky: mesh.StickyKey | undefined): StickyKey | null {
  const by = sticky?.by;
  if (by?.case === undefined) return null;
  return by.case === "address" ? { by: "address" } : { by: by.case, name: by.value };
}

/** A snapshot's content as the proxying engine takes it. */
export function routingTable(content: mesh.SnapshotContent): RoutingTable {
  return {
    environments: content.environments.map(({ name }) => ({ name })),
    services: content.services.map((service) => ({
      environment: service.environment,
      name: service.name,
      endpoints: service.endpoints.map(endpointOf),
      expectsReplicas: service.expectsReplicas,
      wakeMs: Number(service.wakeTimeoutMs),
      routes: service.routes.map(routeOf),
      policy: policyOf(service.policy),
      ...(service.split ? { split: splitOf(service.split) } : {}),
      isObserved: service.observed,
    })),
  };
}
