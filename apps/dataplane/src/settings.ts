import {
  assertEncryptedWays,
  hostEnvironment,
  type InstanceNetwork,
  type InstancePaths,
  readNetwork,
  resolveInstance,
} from "@hms/config";
import { HmsError } from "@hms/kernel/errors";

/** Which installation a data plane serves, and where. */
export interface Settings {
  paths: InstancePaths;
  network: InstanceNetwork;
  /** Where gateways count limits together; undefined: each for itself. */
  redisUrl: string | undefined;
}

const PREFIX = /^127\.(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])$/;

/**
 * Finds the installation by HMS_INSTANCE and HMS_DATA and reads what it has taken of this machine's addresses.
 * @throws HmsError FAILED_PRECONDITION naming every value that cannot be used.
 */
export function readSettings(): Settings {
  const paths = resolveInstance();
  const host = hostEnvironment();
  assertEncryptedWays(host, ["HMS_REDIS_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
  const network = readFile(paths);
  if (network === undefined) {
    throw unusable(`${paths.data} has no network.json: the data plane is started by the agent (hms-sys up).`);
  }
  const problems = problemsOf(network);
  if (problems.length === 0) return { paths, network, redisUrl: host.redisUrl };
  throw unusable(`${paths.data}/network.json cannot be used: ${problems.join("; ")}. Correct it, or delete it.`);
}

function readFile(paths: InstancePaths): InstanceNetwork | undefined {
  try {
    return readNetwork(paths);
  } catch (cause) {
    throw unusable(`${paths.data}/network.json cannot be read: ${(cause as Error).message}.`, cause);
  }
}

function problemsOf(network: InstanceNetwork): string[] {
  const problems: string[] = [];
  const seen = new Map<number, string>();
  for (const name of ["gatewayPort", "tlsPort", "proxyPort", "metricsPort"] as const) {
    const port = network[name];
    const other = seen.get(port);
    if (!Number.isInteger(port) || port < 1 || port > 65_535) problems.push(`${name} is ${port}, not a port`);
    else if (other) problems.push(`${name} is ${port}, as is ${other}`);
    seen.set(port, name);
  }
  if (!PREFIX.test(network.vipPrefix)) problems.push(`vipPrefix is "${network.vipPrefix}", not like "127.88"`);
  return problems;
}

function unusable(message: string, cause?: unknown): HmsError {
  return new HmsError("FAILED_PRECONDITION", message, cause === undefined ? {} : { cause });
}
