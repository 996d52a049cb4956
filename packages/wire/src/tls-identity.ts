import type { Server, TLSSocket } from "node:tls";
import { HmsError } from "@hms/kernel";

/** Frames over TLS, as ALPN names them. */
export const FRAMES_PROTOCOL = "hms-frames/1";

/**
 * Who this side is and whom it believes, in PEM; asked anew for each connection, so that a rotated certificate needs no
 * restart. The functions must be quick: they keep what they have read.
 */
export interface TlsIdentity {
  key(): string | Buffer;
  /** The certificate with its SPIFFE id, intermediates after it. */
  cert(): string | Buffer;
  /** The authorities that peers' certificates come from. */
  ca(): string | Buffer;
  /** Is told of a rotated certificate that cannot be used; a server goes on with the one before. */
  onFailure?(error: unknown): void;
}

/** Who a server is, and whom it lets in. */
export interface ServerTls extends TlsIdentity {
  /**
   * "required" (default): a client without a certificate of the authorities is let go. "optional": it may show none, and
   * is then known by what its calls show; one that is not accepted is refused all the same.
   */
  readonly clients?: "required" | "optional";
}

/** What `tls.connect`, `tls.createServer` and their HTTP/2 counterparts need of an identity: TLS 1.3 and nothing older. */
export function secureOptions({ key, cert, ca }: TlsIdentity) {
  return { key: key(), cert: cert(), ca: ca(), minVersion: "TLSv1.3" as const };
}

/** Lets a server use the certificates that its identity has when a connection arrives. */
export function followIdentity(
  server: Pick<Server, "setSecureContext" | "prependListener">,
  identity: TlsIdentity,
): void {
  let used = secureOptions(identity);
  server.prependListener("connection", () => {
    try {
      const now = secureOptions(identity);
      if (now.key === used.key && now.cert === used.cert && now.ca === used.ca) return;
      server.setSecureContext(now);
      used = now;
    } catch (error) {
      identity.onFailure?.(error);
    }
  });
}

/** One entry of Node's text of a certificate's alternative names; values with special characters are quoted as JSON. */
const ENTRY = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y;
/** SPIFFE-ID, section 2: trust domain and path. */
const SPIFFE_ID = /^spiffe:\/\/[a-z0-9._-]+(?:\/[A-Za-z0-9._-]+)+$/;

/**
 * The SPIFFE id in a certificate's alternative names as Node writes them ("URI:spiffe://…"); undefined if there is none,
 * or another URI beside it (X509-SVID, section 2).
 */
export function spiffeIdIn(alternativeNames: string | undefined): string | undefined {
  if (alternativeNames === undefined) return undefined;
  const uris: string[] = [];
  ENTRY.lastIndex = 0;
  while (ENTRY.lastIndex < alternativeNames.length) {
    const entry = ENTRY.exec(alternativeNames);
    if (entry === null) return undefined;
    if (entry[1] === "URI") uris.push(entry[2] as string);
  }
  const [id, another] = uris;
  return id !== undefined && another === undefined && SPIFFE_ID.test(id) ? id : undefined;
}

/** The SPIFFE id of a peer whose certificate has been verified; undefined if it has shown none. */
export function spiffeIdOf(socket: TLSSocket): string | undefined {
  return socket.authorized ? spiffeIdIn(socket.getPeerX509Certificate()?.subjectAltName) : undefined;
}

/** The SPIFFE id that a server must show, or several of which it must show one. */
export type ExpectedId = string | readonly string[];

/** Judges a server by its SPIFFE id instead of its host name: any of the authorities', or one that is expected. */
export function checkServerId(
  alternativeNames: string | undefined,
  expected: ExpectedId | undefined,
): Error | undefined {
  const id = spiffeIdIn(alternativeNames);
  const wanted = typeof expected === "string" ? [expected] : expected;
  if (id !== undefined && (wanted === undefined || wanted.includes(id))) return undefined;
  const shown = id === undefined ? "no SPIFFE id" : id;
  return new HmsError(
    "UNAUTHENTICATED",
    `The server shows ${shown}; ${wanted?.join(" or ") ?? "a SPIFFE id"} was expected.`,
  );
}
