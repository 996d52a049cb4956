import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { isIP, isIPv6 } from "node:net";
import { HmsError } from "@hms/kernel/errors";
import type { InstancePaths } from "./instance-paths.ts";

/** An address of this machine, in digits, at which the gateway listens beside loopback. */
export interface GatewayAddress {
  /** "0.0.0.0" and "::" are all of them. */
  readonly host: string;
  readonly port: number;
}

/** Where the gateway listens beside its ports on loopback; nowhere by default. */
export interface GatewayListen {
  /** Without TLS. */
  readonly http: readonly GatewayAddress[];
  /** With TLS, while there are certificates. */
  readonly https: readonly GatewayAddress[];
}

const file = (paths: Pick<InstancePaths, "data">) => `${paths.data}/gateway-listen.json`;
const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/;
const NOWHERE: GatewayListen = { http: [], https: [] };

/** Writes an address as `parseGatewayAddresses` reads it. */
export function formatGatewayAddress({ host, port }: GatewayAddress): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Reads "0.0.0.0:80,[::]:80", or "none" for nowhere; `option` is what the text was given as.
 * @throws HmsError INVALID_ARGUMENT naming every address that is none
 */
export function parseGatewayAddresses(option: string, text: string): GatewayAddress[] {
  if (text === "none") return [];
  const read = text.split(",").map((one) => ({ one, address: readAddress(one.trim()) }));
  const wrong = read.filter(({ address }) => address === undefined).map(({ one }) => JSON.stringify(one));
  if (wrong.length > 0) {
    const what = `${option} says where the gateway listens beside loopback: ADDRESS:PORT of this machine in digits, several with commas (0.0.0.0:80,[::]:80: every address), or none`;
    throw new HmsError("INVALID_ARGUMENT", `${what}; not ${wrong.join(", ")}.`);
  }
  const byText = new Map(read.flatMap(({ address }) => (address ? [[formatGatewayAddress(address), address]] : [])));
  return [...byText.values()];
}

function readAddress(text: string): GatewayAddress | undefined {
  const [, v6, v4, digits] = ADDRESS.exec(text) ?? [];
  const host = v6 ?? v4 ?? "";
  const port = Number(digits);
  const version = v6 === undefined ? 4 : 6;
  return isIP(host) === version && port > 0 && port <= 65_535 ? { host, port } : undefined;
}

/**
 * Where the gateway listens beside loopback; nowhere unless `up` has said it.
 * @throws HmsError FAILED_PRECONDITION if the file holds something else
 */
export function readGatewayListen(paths: Pick<InstancePaths, "data">): GatewayListen {
  let text: string;
  try {
    text = readFileSync(file(paths), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return NOWHERE;
    throw error;
  }
  try {
    const { http = [], https = [] } = JSON.parse(text) as Record<keyof GatewayListen, string[]>;
    const addressesOf = (given: string[]) => given.flatMap((one) => parseGatewayAddresses(file(paths), one));
    return { http: addressesOf(http), https: addressesOf(https) };
  } catch (cause) {
    const message = `${file(paths)} cannot be used: ${(cause as Error).message} Say it anew: hms-sys up --http-listen … --https-listen …`;
    throw new HmsError("FAILED_PRECONDITION", message, { cause });
  }
}

/** Keeps where the gateway listens beside loopback; atomic. */
export function writeGatewayListen(paths: Pick<InstancePaths, "data">, { http, https }: GatewayListen): void {
  const kept = { http: http.map(formatGatewayAddress), https: https.map(formatGatewayAddress) };
  writeFileSync(`${file(paths)}.new`, `${JSON.stringify(kept, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file(paths)}.new`, file(paths));
}

/** What `up` was told; undefined: as before. */
export type WantedGatewayListen = Readonly<Record<keyof GatewayListen, string | undefined>>;

/**
 * Where the gateway listens beside loopback after `up` was told something.
 * @throws HmsError INVALID_ARGUMENT for texts that are no addresses, and for an address that would be with and without TLS
 */
export function changedGatewayListen(before: GatewayListen, { http, https }: WantedGatewayListen): GatewayListen {
  const changed: GatewayListen = {
    http: http === undefined ? before.http : parseGatewayAddresses("--http-listen", http),
    https: https === undefined ? before.https : parseGatewayAddresses("--https-listen", https),
  };
  const secure = new Set(changed.https.map(formatGatewayAddress));
  const both = changed.http.map(formatGatewayAddress).filter((address) => secure.has(address));
  if (both.length === 0) return changed;
  const message = `${both.join(", ")} would be with and without TLS: give --http-listen and --https-listen a port each.`;
  throw new HmsError("INVALID_ARGUMENT", message);
}
