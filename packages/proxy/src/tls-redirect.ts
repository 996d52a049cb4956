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
  /** Whether that holds for names below, too. */
  readonly hstsSubdomains: boolean;
}

const HOST = /^([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])\.?(?::\d+)?$/i;
const LOCAL = /(?:^|\.)localhost$|^[\d.]+$|^\[/i;

/** Where the gateway is without being asked to. */
const OWN_ADDRESSES: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "::ffff:127.0.0.1"]);

/** The name in a Host field, without its port; null if it is none. */
function nameIn(host: string): string | null {
  return HOST.exec(host)?.[1] ?? null;
}

/**
 * Sends a browser that goes to a page without TLS there (308); null: it is served as it came. Everything else is refused
 * (403): a program that was sent on silently would go on showing what it sends to everybody on the way (ASVS 4.1.2).
 */
export function redirectToTls(
  tls: GatewayTlsTerms | undefined,
  request: ProxyRequest,
  { host, target }: { host: string; target: string },
): ErrorReply | null {
  const { socket } = request;
  if (!tls?.redirect || ("encrypted" in socket && socket.encrypted === true)) return null;
  const port = OWN_ADDRESSES.has(socket.localAddress ?? "") ? tls.port : tls.outsidePort;
  if (port === undefined) return null;
  const name = nameIn(host);
  if (name === null) return { status: 400, message: "The Host field is no host name." };
  const place = `https://${name}${port === 443 ? "" : `:${port}`}${target}`;
  if (!goesToPage(request)) {
    const message = `This is answered over TLS only: ${place}. What was sent could be read on its way; if it held a key, replace that.`;
    return { status: 403, message, fields: "cache-control: no-store\r\n" };
  }
  const fields = `location: ${place}\r\ncache-control: no-store\r\n`;
  return { status: 308, message: `This is answered over TLS only: ${place}`, fields };
}

/** The Strict-Transport-Security field for a host, with its line end; "" where it says nothing or would do harm. */
export function hstsField({ hstsSeconds, hstsSubdomains }: GatewayTlsTerms, host: string): string {
  const name = nameIn(host);
  // For localhost it would hold for every program of the machine, on every port.
  if (hstsSeconds === 0 || name === null || LOCAL.test(name)) return "";
  return `strict-transport-security: max-age=${hstsSeconds}${hstsSubdomains ? "; includeSubDomains" : ""}\r\n`;
}

/** Whether a browser asks because somebody goes there, rather than a program or a page's script. */
function goesToPage({ method, rawHeaders }: ProxyRequest): boolean {
  if (method !== "GET" && method !== "HEAD") return false;
  let accept = "";
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (name === "authorization") return false;
    if (name === "accept") accept += `,${rawHeaders[i + 1]}`;
  }
  return /(?:^|,)\s*text\/html\s*(?:[;,]|$)/i.test(accept);
}
