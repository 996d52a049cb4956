import { isIPv4, isIPv6 } from "node:net";

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
