import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";

/** A certificate that a client has shown, or why it does not count. */
export type ClientCertificate =
  | {
      readonly kind: "accepted";
      /** All URIs among its names: whom it stands for. */
      readonly uris: readonly string[];
      /** SHA-256 of the whole certificate. */
      readonly fingerprint: string;
      readonly endsAtMs: number;
    }
  | { readonly kind: "refused"; readonly reason: string };

/** A socket within this process, which was told of its client. */
interface ToldSocket {
  readonly clientCertificate?: ClientCertificate | null;
}

/** One entry of Node's text of a certificate's alternative names; values with special characters are quoted as JSON. */
const ENTRY = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y;

/** The certificate that was shown on a connection; null: none. Costs some microseconds; ask once. */
export function clientCertificateOf(socket: Socket): ClientCertificate | null {
  const told = (socket as unknown as ToldSocket).clientCertificate;
  if (told !== undefined) return told;
  if (!("encrypted" in socket) || socket.encrypted !== true) return null;
  const { authorized, authorizationError, getPeerX509Certificate } = socket as TLSSocket;
  const certificate = getPeerX509Certificate?.call(socket);
  if (certificate === undefined) return null;
  if (!authorized) return { kind: "refused", reason: String(authorizationError ?? "it cannot be verified") };
  return {
    kind: "accepted",
    uris: urisIn(certificate.subjectAltName ?? ""),
    fingerprint: certificate.fingerprint256,
    endsAtMs: certificate.validToDate.getTime(),
  };
}

/** What cannot be read as a whole says nothing. */
function urisIn(alternativeNames: string): string[] {
  const uris: string[] = [];
  ENTRY.lastIndex = 0;
  while (ENTRY.lastIndex < alternativeNames.length) {
    const entry = ENTRY.exec(alternativeNames);
    if (entry === null) return [];
    if (entry[1] === "URI") uris.push(entry[2] as string);
  }
  return uris;
}
