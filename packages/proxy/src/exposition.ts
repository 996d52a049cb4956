import { CODE_CLASSES, DURATION_BUCKETS_SECONDS, type RouteMetrics } from "./metrics-registry.ts";
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
    services.map((service) => line(name, labels(service), value(service)));
  const { refusals, clientConnections } = source;
  return [
    ...family("hms_proxy_requests_total counter Requests that have ended, by the class of their status."),
    ...requestLines(routes),
    ...family(
      "hms_proxy_request_duration_seconds histogram Time from the head of a request to the end of its response.",
    ),
    ...routes.flatMap(histogramLines),
    ...family("hms_proxy_requests_in_flight gauge Requests that run now."),
    ...perService("hms_proxy_requests_in_flight", (service) => service.inFlight),
    ...family("hms_proxy_retries_total counter Requests that were sent again after a failure."),
    ...perService("hms_proxy_retries_total", (service) => service.metrics.retries),
    ...family("hms_proxy_reconnects_total counter Attempts that moved on before any byte was sent."),
    ...perService("hms_proxy_reconnects_total", (service) => service.metrics.reconnects),
    ...family("hms_proxy_ejections_total counter Endpoints avoided for a time because they could not be reached."),
    ...perService("hms_proxy_ejections_total", (service) => service.metrics.ejections),
    ...family("hms_proxy_upstream_connections gauge Open connections to endpoints."),
    ...services.flatMap(connectionLines),
    ...family("hms_proxy_refused_requests_total counter Answers that no service gave, by status."),
    ...[...refusals].map(([status, n]) => line("hms_proxy_refused_requests_total", { code: String(status) }, n)),
    ...family("hms_proxy_client_connections gauge Open connections of clients."),
    line("hms_proxy_client_connections", {}, clientConnections),
  ].join("");
}

/** Takes name, kind and description of a metric in one text. */
function family(description: string): string[] {
  const [name, type, ...help] = description.split(" ");
  return [`# HELP ${name} ${help.join(" ")}\n`, `# TYPE ${name} ${type}\n`];
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
      return count === 0 ? [] : [line("hms_proxy_requests_total", { environment, service, route, code }, count)];
    }),
  );
}

function histogramLines({ environment, service, route, buckets, durationSumMs }: RouteMetrics): string[] {
  const name = "hms_proxy_request_duration_seconds";
  const base = { environment, service, route };
  let total = 0;
  const lines = [...DURATION_BUCKETS_SECONDS.map(String), "+Inf"].map((le, position) => {
    total += buckets[position] as number;
    return line(`${name}_bucket`, { ...base, le }, total);
  });
  return [...lines, line(`${name}_sum`, base, durationSumMs / 1000), line(`${name}_count`, base, total)];
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
    line(name, { ...labels(service), state: "idle" }, idle),
    line(name, { ...labels(service), state: "busy" }, busy),
  ];
}

function line(name: string, labelValues: Record<string, string>, value: number): string {
  const pairs = Object.entries(labelValues).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}\n`;
}

function escapeLabel(text: string): string {
  return text.replace(/[\\"\n]/g, (letter) => (letter === "\n" ? "\\n" : `\\${letter}`));
}
