import { isIPv4, isIPv6 } from "node:net";
import { networkOfAddress, type Principal } from "@hms/kernel";

const UNIX_ADDRESS = /^unix:(\/[\x21-\x7e]{1,106})$/;
const HOST_ADDRESS =
  /^(tcp|tls|grpc|grpcs):\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)):(\d{1,5})$/;
const HIGHEST_PORT = 65_535;
const LONGEST = 512;

/** An address to which "/SERVICE/METHOD" can be added: nothing of it says where else a call should go. */
function isHttpAddress(address: string): boolean {
  return address.length <= LONGEST && /^https?:\/\/[^\s?#@\\]+$/.test(address) && URL.canParse(address);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

function hostProblem(address: string): string | undefined {
  const [, scheme, v6, name, port] = HOST_ADDRESS.exec(address) ?? [];
  const host = v6 ?? name;
  if (host === undefined || (v6 !== undefined && !isIPv6(v6))) return "is no address";
  if (Number(port) < 1 || Number(port) > HIGHEST_PORT) return "has an impossible port";
  if (scheme === "tcp" && !isLoopback(host)) return "leaves this machine unprotected; use tls:// or grpcs://";
  return undefined;
}

/** What is wrong with the address of an instance; undefined if nothing is. */
export function addressProblem(address: string): string | undefined {
  if (UNIX_ADDRESS.test(address)) return undefined;
  if (isHttpAddress(address)) return undefined;
  const problem = hostProblem(address);
  const examples = 'write "unix:/path/to.sock", "grpc://127.0.0.1:20001" or "http://127.0.0.1:20001".';
  return problem && `"${address.slice(0, 120)}" ${problem}; ${examples}`;
}

/** What is wrong with the address of a stock gRPC server; undefined if nothing is. */
export function foreignAddressProblem(address: string): string | undefined {
  if (/^grpcs?:/.test(address) && hostProblem(address) === undefined && address.length <= 128) return undefined;
  return `"${address.slice(0, 120)}" is no address of a gRPC server; write "grpc://127.0.0.1:50051" or "grpcs://host:443".`;
}

/** Whoever answers there has to prove who it is, before anything is sent. */
const PROVEN = new Set(["tls", "grpcs"]);

/** The host of an address, as what connects there will read it; undefined for sockets. */
function hostOf(address: string): string | undefined {
  if (isHttpAddress(address)) return new URL(address).hostname;
  const [, , v6, name] = HOST_ADDRESS.exec(address) ?? [];
  return v6 ?? name;
}

/** Whether a host is a special network's; numbers are addresses too, "2852039166" is 169.254.169.254. */
function isSpecial(host: string): boolean {
  const inDigits = isIPv6(host) ? host : (URL.parse(`http://${host}/`)?.hostname ?? host);
  return networkOfAddress(inDigits) === "special";
}

/**
 * What is wrong with where an address leads, registered by this principal; undefined if nothing is. The platform calls
 * there, so nobody gets to places by it that they could not reach: nobody but the operator to link-local addresses, where
 * clouds have their metadata; services and programs to no private network, unless who answers there proves who it is. Names
 * may lead elsewhere tomorrow, so unproven ones are theirs in digits only. Names of anybody that lead to such places are
 * refused when they are connected to (`carefulLookup`), whatever they led to here.
 */
export function reachProblem(address: string, { kind }: Principal): string | undefined {
  if (kind === "operator" || kind === "component") return undefined;
  const host = hostOf(address);
  if (host === undefined) return undefined;
  const network = networkOfAddress(host);
  const shown = `"${address.slice(0, 120)}"`;
  if (isSpecial(host)) return `${shown} leads where no service is (link-local, metadata or multicast).`;
  const scheme = address.slice(0, address.indexOf(":"));
  if (kind !== "service" || PROVEN.has(scheme)) return undefined;
  if (network === "private") {
    return `${shown} leads into a private network unproven; use tls:// or grpcs://, or let the operator register it.`;
  }
  // The certificate of https names whoever answers there.
  if (network !== undefined || host === "localhost" || scheme === "https") return undefined;
  return `${shown} has a name that may lead elsewhere tomorrow; write the address in digits, or use tls:// or grpcs://.`;
}
