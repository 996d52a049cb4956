import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { InstancePaths } from "./instance-paths.ts";

/** The addresses one installation has taken on this machine; chosen at its first start, then kept. */
export interface InstanceNetwork {
  /** The gateway's port on 127.0.0.1; 3000 for the default instance. */
  gatewayPort: number;
  /** The gateway's port for TLS on 127.0.0.1, open while there are certificates; 3443 for the default instance. */
  tlsPort: number;
  /** The mesh proxy's port on 127.0.0.1, for programs that find the mesh by HTTP_PROXY; 3002 for the default instance. */
  proxyPort: number;
  /** Where the data plane serves /metrics and /healthz on 127.0.0.1; 3001 for the default instance. */
  metricsPort: number;
  /** The first two octets of the mesh's loopback range, "127.88" for the default instance. */
  vipPrefix: string;
  /** The first of 5000 ports for replicas; 20000 for the default instance. */
  replicaPortBase: number;
}

/** The port for TLS that goes with a gateway's port: 443 with 80, 3443 with 3000. */
export function tlsPortFor(gatewayPort: number): number {
  if (gatewayPort === 80) return 443;
  return gatewayPort + 443 > 65_535 ? gatewayPort - 443 : gatewayPort + 443;
}

const file = (paths: Pick<InstancePaths, "data">) => `${paths.data}/network.json`;

/** What the installation has taken, or undefined before its first start. */
export function readNetwork(paths: Pick<InstancePaths, "data">): InstanceNetwork | undefined {
  try {
    const network = JSON.parse(readFileSync(file(paths), "utf8")) as InstanceNetwork;
    // Installations from before there was TLS have no port for it.
    return { ...network, tlsPort: network.tlsPort ?? tlsPortFor(network.gatewayPort) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Keeps what the installation has taken; atomic. */
export function writeNetwork(paths: InstancePaths, network: InstanceNetwork): void {
  writeFileSync(`${file(paths)}.new`, `${JSON.stringify(network, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file(paths)}.new`, file(paths));
}
