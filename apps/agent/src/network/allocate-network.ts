import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { type InstanceNetwork, type InstancePaths, readNetwork, tlsPortFor, writeNetwork } from "@hms/config";
import { portHolder } from "@hms/handover";
import { HmsError } from "@hms/kernel";
import { claimOnMachine, holderOnMachine, releaseClaim } from "./machine-claim.ts";
import { settledPlaces } from "./settled-places.ts";

/** How many further installations find a place of their own on one machine. */
const PLACES = 100;

/** The addresses of place n; place 0 is the default instance's. */
function place(n: number): InstanceNetwork {
  const base = 3000 + 10 * n;
  return {
    gatewayPort: base,
    tlsPort: tlsPortFor(base),
    metricsPort: base + 1,
    proxyPort: base + 2,
    vipPrefix: `127.${88 + n}`,
    replicaPortBase: n === 0 ? 20_000 : 10_000 + ((n * 100) % 5_000),
  };
}

/**
 * Decides where an installation listens: what it had before, else place 0 for the default instance, else the first free
 * place that no other installation has, whether that runs or not; its addresses stay this agent's while it lives. A
 * gateway port that was asked for is kept from then on.
 * @throws HmsError UNAVAILABLE naming the holder if a port or an address range that must be had is taken.
 */
export async function allocateNetwork(paths: InstancePaths, gatewayPort: number | undefined): Promise<InstanceNetwork> {
  const known = readNetwork(paths);
  const network = known === undefined ? await choosePlace(paths, gatewayPort) : { ...known };
  if (gatewayPort !== undefined && gatewayPort !== network.gatewayPort) {
    Object.assign(network, { gatewayPort, tlsPort: tlsPortFor(gatewayPort) });
  }
  if (!(await claimOnMachine(network.vipPrefix, nameOf(paths)))) throw await addressesTaken(network);
  if (known === undefined || known.gatewayPort !== network.gatewayPort) {
    // The others may be in use by what this installation runs already.
    await moveSidePorts(network, known === undefined ? ["tlsPort", "metricsPort", "proxyPort"] : ["tlsPort"]);
    writeNetwork(paths, network);
  }
  return network;
}

const nameOf = ({ instance }: InstancePaths) => `instance "${instance}" (pid ${process.pid})`;

async function addressesTaken(network: InstanceNetwork): Promise<HmsError> {
  // The port is what people know.
  await requireGatewayPort(network);
  const { vipPrefix } = network;
  const holder = (await holderOnMachine(vipPrefix)) || "another installation";
  return new HmsError(
    "UNAVAILABLE",
    `The mesh addresses of this installation (${vipPrefix}.*) are in use by ${holder}: the two cannot run at the same time. Stop that one first.`,
  );
}

/** @throws HmsError UNAVAILABLE naming the holder if the gateway cannot listen. */
export async function requireGatewayPort({ gatewayPort }: InstanceNetwork): Promise<void> {
  if ((await claimOnMachine(`port-${gatewayPort}`)) && (await isGatewayFree(gatewayPort))) return;
  const holder = portHolder(gatewayPort);
  const who = holder ? ` by ${holder.name} (pid ${holder.pid})` : "";
  throw new HmsError(
    "UNAVAILABLE",
    `Port ${gatewayPort} is taken${who}. Stop it, or choose another port: hms-sys up --port ${gatewayPort + 80}`,
  );
}

async function choosePlace(paths: InstancePaths, gatewayPort: number | undefined): Promise<InstanceNetwork> {
  const isDefault = paths.instance === "default";
  // The default gateway port is a promise: if it is taken, that is said, and nothing else is chosen in silence.
  if (isDefault && gatewayPort === undefined) return place(0);
  const settled = settledPlaces(paths);
  for (let n = isDefault ? 0 : 1; n < PLACES; n += 1) {
    const candidate = place(n);
    if (settled.some((other) => overlaps(candidate, other))) continue;
    if (await takePlace(candidate, { chosenPort: gatewayPort, paths })) return candidate;
  }
  throw new HmsError(
    "RESOURCE_EXHAUSTED",
    `${PLACES} installations have taken the ports from 3000 to ${3000 + 10 * PLACES}. Remove one.`,
  );
}

function overlaps(place: InstanceNetwork, other: InstanceNetwork): boolean {
  return place.vipPrefix === other.vipPrefix || place.gatewayPort === other.gatewayPort;
}

async function takePlace(
  place: InstanceNetwork,
  { chosenPort, paths }: { chosenPort: number | undefined; paths: InstancePaths },
): Promise<boolean> {
  const { gatewayPort, tlsPort, metricsPort, proxyPort, vipPrefix } = place;
  if (!(await claimOnMachine(vipPrefix, nameOf(paths)))) return false;
  const needed = chosenPort === undefined ? [gatewayPort, tlsPort, metricsPort, proxyPort] : [];
  const ports = await Promise.all([
    ...needed.map((port) => isFree(port)),
    chosenPort !== undefined || isFree(gatewayPort, "::1"),
    chosenPort !== undefined || isFree(tlsPort, "::1"),
  ]);
  if (ports.every(Boolean) && (await isPrefixFree(vipPrefix))) return true;
  releaseClaim(vipPrefix);
  return false;
}

/** TLS, metrics and proxy give way if somebody has their ports; only the gateway's is a promise. */
async function moveSidePorts(
  network: InstanceNetwork,
  keys: readonly ("tlsPort" | "metricsPort" | "proxyPort")[],
): Promise<void> {
  const { gatewayPort, tlsPort, metricsPort, proxyPort } = network;
  const fixed = { tlsPort, metricsPort, proxyPort };
  for (const key of keys) Reflect.deleteProperty(fixed, key);
  const taken = new Set([gatewayPort, ...Object.values(fixed)]);
  for (const key of keys) {
    while (taken.has(network[key]) || !(await isFree(network[key]))) network[key] += 1;
    taken.add(network[key]);
  }
}

/** Browsers take both addresses for the gateway's. */
async function isGatewayFree(port: number): Promise<boolean> {
  return (await isFree(port)) && (await isFree(port, "::1"));
}

/** True if nobody listens there: a listener that shares its port would let us in, so a connection is tried, too. */
function isFree(port: number, host = "127.0.0.1"): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    // A machine without that address has nobody who listens there.
    server.once("error", (error: NodeJS.ErrnoException) =>
      resolve(["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes(error.code ?? "")),
    );
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** True if no other installation serves names there; addresses that this user may not bind count as free. */
function isPrefixFree(prefix: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    socket.once("error", (error: NodeJS.ErrnoException) => {
      socket.close();
      resolve(error.code !== "EADDRINUSE");
    });
    socket.bind({ port: 53, address: `${prefix}.0.53`, exclusive: true }, () => socket.close(() => resolve(true)));
  });
}
