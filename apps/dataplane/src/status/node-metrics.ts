import type { QueryCounts } from "../names/query-counts.ts";

/** What is counted at the moment of asking, beside the traffic. */
export interface NodeFigures {
  snapshotVersion: bigint;
  isServerConnected: boolean;
  openAddresses: number;
  queries: QueryCounts;
}

const STARTED_AT_SECONDS = (Date.now() - performance.now()) / 1000;

/** The data plane's own metrics in Prometheus text exposition format 0.0.4. */
export function nodeMetrics({ snapshotVersion, isServerConnected, openAddresses, queries }: NodeFigures): string {
  const { user, system } = process.cpuUsage();
  return [
    gauge("hms_dataplane_snapshot_version", "The snapshot that is served.", Number(snapshotVersion)),
    gauge("hms_dataplane_server_connected", "1 while the server is heard.", isServerConnected ? 1 : 0),
    gauge("hms_dataplane_open_addresses", "Mesh addresses and ports that are open.", openAddresses),
    "# HELP hms_dns_queries_total Queries for names, by how they ended.\n# TYPE hms_dns_queries_total counter\n",
    ...Object.entries(queries).map(([result, count]) => `hms_dns_queries_total{result="${result}"} ${count}\n`),
    gauge("process_resident_memory_bytes", "Memory in use.", process.memoryUsage.rss()),
    gauge("process_start_time_seconds", "When the process started, since 1970.", STARTED_AT_SECONDS),
    "# HELP process_cpu_seconds_total Processor time used.\n# TYPE process_cpu_seconds_total counter\n",
    `process_cpu_seconds_total ${(user + system) / 1e6}\n`,
  ].join("");
}

function gauge(name: string, help: string, value: number): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${name} ${value}\n`;
}
