import type { ProxyRequest } from "./client-messages.ts";
import type { ErrorReply } from "./error-reply.ts";

/** What the gateway's TLS means for clients. */
export interface GatewayTlsTerms {
  /** Where it listens. */
  readonly port: number;
  /** Whether clients without it are sent there. */
  readonly redirect: boolean;
  /** What browsers are told by Strict-Transport-Security (RFC 6797); 0: nothing. */
  readonly hstsSeconds: number;
}

const HOST = /^([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])\.?(?::\d+)?$/i;
const LOCAL = /(?:^|\.)localhost$|^[\d.]+$|^\[/i;

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
  const name = nameIn(host);
  if (name === null) return { status: 400, message: "The Host field is no host name." };
  const { port } = tls;
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
