import { metricFamily, metricSample } from "@hms/telemetry/metrics";
import { CODE_CLASSES, type RouteMetrics } from "./metrics-registry.ts";
import { revisionLines } from "./revision-exposition.ts";
import type { Service } from "./service.ts";

/** What is counted at the moment of asking. */
export interface MetricsSource {
  services: Iterable<Service>;
  /** Answers that no service gave, by status. */
  refusals: ReadonlyMap<number, number>;
  clientConnections: number;
}

/** Writes Prometheus text exposition format 0.0.4. */
export function exposeMetrics(source: MetricsSource): string {
  const services = [...source.services];
  const routes = services.flatMap((service) => [...service.routes.values()]).filter(hasRequests);
  const perService = (name: string, value: (service: Service) => number) =>
    services.map((service) => metricSample(name, labels(service), value(service)));
  const { refusals, clientConnections } = source;
  return [
    ...metricFamily("hms_proxy_requests_total counter Requests that have ended, by the class of their status."),
    ...requestLines(routes),
    ...metricFamily(
      "hms_proxy_request_duration_seconds histogram Time from the head of a request to the end of its response.",
    ),
    ...routes.flatMap(histogramLines),
    ...metricFamily("hms_proxy_requests_in_flight gauge Requests that run now."),
    ...perService("hms_proxy_requests_in_flight", (service) => service.inFlight),
    ...metricFamily("hms_proxy_retries_total counter Requests that were sent again after a failure."),
    ...perService("hms_proxy_retries_total", (service) => service.metrics.retries),
    ...metricFamily("hms_proxy_reconnects_total counter Attempts that moved on before any byte was sent."),
    ...perService("hms_proxy_reconnects_total", (service) => service.metrics.reconnects),
    ...metricFamily(
      "hms_proxy_ejections_total counter Endpoints avoided for a time because they could not be reached.",
    ),
    ...perService("hms_proxy_ejections_total", (service) => service.metrics.ejections),
    ...metricFamily(
      "hms_proxy_split_crossings_total counter Requests that the other side of a split took, by the side that had nobody.",
    ),
    ...services.flatMap(crossingLines),
    ...revisionLines(services),
    ...metricFamily("hms_proxy_waiting_requests gauge Requests that wait for a replica now."),
    ...perService("hms_proxy_waiting_requests", (service) => service.waitingRoom.size),
    ...metricFamily("hms_proxy_upstream_connections gauge Open connections to endpoints."),
    ...services.flatMap(connectionLines),
    ...metricFamily("hms_proxy_refused_requests_total counter Answers that no service gave, by status."),
    ...[...refusals].map(([status, n]) =>
      metricSample("hms_proxy_refused_requests_total", { code: String(status) }, n),
    ),
    ...metricFamily("hms_proxy_client_connections gauge Open connections of clients."),
    metricSample("hms_proxy_client_connections", {}, clientConnections),
  ].join("");
}

function labels(service: Service): Record<string, string> {
  return { environment: service.environment, service: service.name };
}

function hasRequests(route: RouteMetrics): boolean {
  return route.requests.some((count) => count > 0);
}

function requestLines(routes: readonly RouteMetrics[]): string[] {
  return routes.flatMap(({ environment, service, route, requests }) =>
    CODE_CLASSES.flatMap((code, position) => {
      const count = requests[position] as number;
      return count === 0
        ? []
        : [metricSample("hms_proxy_requests_total", { environment, service, route, code }, count)];
    }),
  );
}

function histogramLines({ environment, service, route, durations }: RouteMetrics): string[] {
  return durations.samples("hms_proxy_request_duration_seconds", { environment, service, route });
}

function crossingLines(service: Service): string[] {
  const { triedUnavailable, baselineUnavailable } = service.metrics;
  if (service.division === null && triedUnavailable + baselineUnavailable === 0) return [];
  const name = "hms_proxy_split_crossings_total";
  return [
    metricSample(name, { ...labels(service), meant: "tried" }, triedUnavailable),
    metricSample(name, { ...labels(service), meant: "baseline" }, baselineUnavailable),
  ];
}

function connectionLines(service: Service): string[] {
  let idle = 0;
  let busy = 0;
  for (const endpoint of service.endpoints) {
    idle += endpoint.idleConnections;
    busy += endpoint.connections.size - endpoint.idleConnections;
  }
  const name = "hms_proxy_upstream_connections";
  return [
    metricSample(name, { ...labels(service), state: "idle" }, idle),
    metricSample(name, { ...labels(service), state: "busy" }, busy),
  ];
}
