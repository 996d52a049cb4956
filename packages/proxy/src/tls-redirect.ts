import type { ProxyRequest } from "./client-messages.ts";
import type { ErrorReply } from "./error-reply.ts";

/** What the gateway's TLS means for clients. */
export interface GatewayTlsTerms {
  /** Where it listens. */
  readonly port: number;
  /** Where it listens for clients of other machines; undefined: nowhere, they are not sent anywhere. */
  readonly outsidePort?: number | undefined;
  /** Whether clients without it are sent there. */
  readonly redirect: boolean;
  /** What browsers are told by Strict-Transport-Security (RFC 6797); 0: nothing. */
  readonly hstsSeconds: number;
}

const HOST = /^([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])\.?(?::\d+)?$/i;
const LOCAL = /(?:^|\.)localhost$|^[\d.]+$|^\[/i;

/** Where the gateway is without being asked to. */
const OWN_ADDRESSES: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "::ffff:127.0.0.1"]);

/** The name in a Host field, without its port; null if it is none. */
function nameIn(host: string): string | null {
  return HOST.exec(host)?.[1] ?? null;
}

/** Sends a client that came without TLS there, with method and body (RFC 9110 §15.4.9); null: it is served as it came. */
export function redirectToTls(
  tls: GatewayTlsTerms | undefined,
  { socket }: ProxyRequest,
  { host, target }: { host: string; target: string },
): ErrorReply | null {
  if (!tls?.redirect || ("encrypted" in socket && socket.encrypted === true)) return null;
  const port = OWN_ADDRESSES.has(socket.localAddress ?? "") ? tls.port : tls.outsidePort;
  if (port === undefined) return null;
  const name = nameIn(host);
  if (name === null) return { status: 400, message: "The Host field is no host name." };
  const place = `https://${name}${port === 443 ? "" : `:${port}`}${target}`;
  const fields = `location: ${place}\r\ncache-control: no-store\r\n`;
  return { status: 308, message: `This is answered over TLS only: ${place}`, fields };
}

/** The Strict-Transport-Security field for a host, with its line end; "" where it says nothing or would do harm. */
export function hstsField({ hstsSeconds }: GatewayTlsTerms, host: string): string {
  const name = nameIn(host);
  // For localhost it would hold for every program of the machine, on every port.
  if (hstsSeconds === 0 || name === null || LOCAL.test(name)) return "";
  return `strict-transport-security: max-age=${hstsSeconds}\r\n`;
}
