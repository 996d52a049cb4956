import { createServer } from "node:net";
import {
  changedGatewayListen,
  formatGatewayAddress,
  type GatewayAddress,
  type InstancePaths,
  readGatewayListen,
  type WantedGatewayListen,
} from "@hms/config";
import { listenProblem } from "@hms/handover";
import { HmsError } from "@hms/kernel/errors";

/**
 * Makes sure that the gateway can listen beside loopback where it is to from now on. Addresses that were kept before are not
 * looked at: a data plane of ours may have them.
 * @throws HmsError INVALID_ARGUMENT for texts that are no addresses, and for an address with and without TLS; UNAVAILABLE
 * with every address that cannot be listened at
 */
export async function requireGatewayPlaces(paths: InstancePaths, wanted: WantedGatewayListen): Promise<void> {
  if (wanted.http === undefined && wanted.https === undefined) return;
  const before = lastKnown(paths);
  const { http, https } = changedGatewayListen(before, wanted);
  const known = new Set([...before.http, ...before.https].map(formatGatewayAddress));
  const fresh = [...http, ...https].filter((address) => !known.has(formatGatewayAddress(address)));
  const problems = (await Promise.all(fresh.map(problemAt))).filter((problem) => problem !== undefined);
  if (problems.length === 0) return;
  const advice = "Choose other addresses with --http-listen and --https-listen, or none.";
  throw new HmsError("UNAVAILABLE", `The gateway cannot listen beside loopback: ${problems.join(" ")} ${advice}`);
}

/** A file that cannot be used is what a new one is given for. */
function lastKnown(paths: InstancePaths) {
  try {
    return readGatewayListen(paths);
  } catch {
    return { http: [], https: [] };
  }
}

function problemAt({ host, port }: GatewayAddress): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error) => resolve(listenProblem(error, { protocol: "tcp", address: host, port })));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
