import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { HmsError } from "@hms/kernel";
import { writeGoaway } from "./control-frames.ts";
import { TCP_KEEP_ALIVE_MS } from "./dial.ts";
import { type FrameAddress, formatFrameAddress } from "./frame-address.ts";
import { FrameWriter } from "./frame-writer.ts";
import { listenOnFile } from "./socket-file.ts";
import { FRAMES_PROTOCOL, followIdentity, type ServerTls, secureOptions } from "./tls-identity.ts";

/** A peer that has not agreed on TLS by then is let go. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** A peer that is refused has so long to read why. */
const LAST_WORD_MS = 1_000;

/** Where a server listens. */
export interface Listening {
  /** The address with the port that the system has chosen, if it was to. */
  readonly address: FrameAddress;
  /** Takes away what the address needed beside the server: the socket file. */
  remove(): Promise<void>;
}

/** What a server for an address is made of. */
export interface ListenerOptions {
  readonly tls?: ServerTls | undefined;
  /** What is answered over TLS beside frames, as ALPN names it. */
  readonly alsoProtocols: readonly string[];
  readonly connected: (socket: Socket) => void;
}

/** Makes the server for an address. @throws HmsError INVALID_ARGUMENT if a tls address has no identity */
export function createListener(address: FrameAddress, options: ListenerOptions): Server {
  const { tls, alsoProtocols, connected } = options;
  if (address.kind === "unix") return createServer(connected);
  const network = { noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS };
  if (address.kind === "tcp") return createServer(network, connected);
  if (tls === undefined) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `${formatFrameAddress(address)} needs a certificate: give tls {key, cert, ca}.`,
    );
  }
  const server = createTlsServer({
    ...network,
    ...secureOptions(tls),
    requestCert: true,
    // Refused by us, because Node would end the connection without a word.
    rejectUnauthorized: false,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    ALPNProtocols: [FRAMES_PROTOCOL, ...alsoProtocols],
  });
  followIdentity(server, tls);
  const mayComeWithout = tls.clients === "optional";
  server.on("secureConnection", (socket: TLSSocket) => {
    if (socket.authorized || (mayComeWithout && !showsCertificate(socket))) connected(socket);
    else refuse(socket);
  });
  return server;
}

const showsCertificate = (socket: TLSSocket) => socket.getPeerX509Certificate() !== undefined;

/** Says why nothing is taken from a peer, then ends the connection. */
function refuse(socket: TLSSocket): void {
  socket.on("error", () => {});
  if (socket.alpnProtocol !== FRAMES_PROTOCOL) {
    socket.destroy();
    return;
  }
  const writer = new FrameWriter(socket);
  const why = showsCertificate(socket)
    ? `The certificate is not accepted (${socket.authorizationError})`
    : "A certificate is needed";
  writeGoaway(writer, 0, new HmsError("UNAUTHENTICATED", `${why}: use one that this platform has issued.`));
  writer.end();
  // Reading on keeps the system from cutting the answer off.
  socket.resume();
  const cutOff = setTimeout(() => socket.destroy(), LAST_WORD_MS);
  socket.once("end", () => socket.destroy());
  socket.once("close", () => clearTimeout(cutOff));
}

/**
 * Listens at an address; `mode` says who may open a unix socket, by default only this user.
 * @throws HmsError ALREADY_EXISTS if a server answers there, PERMISSION_DENIED or FAILED_PRECONDITION if it cannot be used
 */
export async function listenAt(server: Server, address: FrameAddress, mode?: number): Promise<Listening> {
  if (address.kind === "unix") {
    const { remove } = await listenOnFile(server, address.path, mode);
    return { address, remove };
  }
  const { host, port } = address;
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => reject(cannotListen(address, error));
    server.once("error", failed);
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off("error", failed);
      resolve();
    });
  });
  return { address: { ...address, port: (server.address() as AddressInfo).port }, remove: async () => {} };
}

function cannotListen(address: FrameAddress, cause: NodeJS.ErrnoException): HmsError {
  const where = formatFrameAddress(address);
  if (cause.code === "EADDRINUSE") {
    return new HmsError("ALREADY_EXISTS", `Somebody listens at ${where}: stop it first, or use another port.`, {
      reason: "ADDRESS_IN_USE",
      cause,
    });
  }
  const denied = cause.code === "EACCES" || cause.code === "EPERM";
  return new HmsError(
    denied ? "PERMISSION_DENIED" : "FAILED_PRECONDITION",
    `Nobody can listen at ${where} (${cause.code}): choose an address of this machine and a port above 1023.`,
    { cause },
  );
}
