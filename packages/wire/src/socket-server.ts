import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { HmsError, type Kernel } from "@hms/kernel";
import type { PeerCredentials } from "./caller-facts.ts";
import { type FrameAddress, formatFrameAddress, parseFrameAddress } from "./frame-address.ts";
import { createListener, type Listening, listenAt } from "./listen.ts";
import { MethodLookup } from "./method-lookup.ts";
import { type OtherProtocols, SocketPeer } from "./socket-peer.ts";
import { type StrangerLimits, Strangers } from "./strangers.ts";
import { type ServerTls, spiffeIdOf } from "./tls-identity.ts";

const DEFAULT_MAX_STREAMS = 1024;
const DEFAULT_MAX_CONNECTIONS = 8192;
const DEFAULT_GRACE_MS = 5_000;

/** How a server of frames is set up, wherever it listens. */
interface FrameServerOptions {
  /** Calls that one connection may have running; default 1024. More are refused with RESOURCE_EXHAUSTED. */
  readonly maxStreams?: number;
  /** Connections at once; default 8192. More are closed. */
  readonly maxConnections?: number;
  /** How long `close` lets running calls finish; default 5 s. */
  readonly graceMs?: number;
  /** Who may open a unix socket; default 0600, this user. 0666 is for servers that let nobody in without credentials. */
  readonly mode?: number;
  /** What else is answered on the same socket; default: one line of text to whoever does not speak frames. */
  readonly also?: OtherProtocols;
}

/** How a socket server is set up. */
export interface ServeSocketOptions extends FrameServerOptions {
  /** The socket file, at most 107 bytes. */
  readonly path: string;
}

/** How a server at any address is set up. */
export interface ServeFramesOptions extends FrameServerOptions {
  /** "unix:/path", "tcp://127.0.0.1:port" or "tls://host:port"; port 0 lets the system choose. */
  readonly address: string;
  /** Who the server is and whose certificates it accepts, for tls addresses. */
  readonly tls?: ServerTls;
  /**
   * Bounds connections without a certificate until the identity source says that one of them is `known`; default: none, they
   * stay as long as they like.
   */
  readonly strangers?: StrangerLimits;
}

/** A kernel that answers calls in frames. */
export interface FrameServer extends AsyncDisposable {
  /** Where it listens, with the port that was chosen. */
  readonly address: string;
  /** Peers connected now. */
  readonly connections: number;
  /**
   * Takes no more calls, ends reading streams, gives the others `graceMs` to finish, then ends everything with
   * UNAVAILABLE; never rejects, may be called twice.
   */
  close(options?: { graceMs?: number }): Promise<void>;
}

/** A kernel that answers on a unix socket. */
export interface SocketServer extends FrameServer {
  readonly path: string;
}

/**
 * Answers calls to a kernel on a unix socket with ttrpc 1.2 frames and the extensions of docs/wire.md.
 * @throws HmsError ALREADY_EXISTS if a server answers at the path, INVALID_ARGUMENT, PERMISSION_DENIED or
 * FAILED_PRECONDITION if the socket cannot be made there
 */
export async function serveSocket(kernel: Kernel, { path, ...options }: ServeSocketOptions): Promise<SocketServer> {
  const server = await serveAt(kernel, { kind: "unix", path }, options);
  return Object.assign(server, { path });
}

/**
 * Answers calls to a kernel at an address, otherwise like `serveSocket`; over TLS both sides show certificates, and the
 * client's SPIFFE id is the `peer` of its credentials.
 * @throws HmsError ALREADY_EXISTS if a server answers there, INVALID_ARGUMENT, PERMISSION_DENIED or FAILED_PRECONDITION
 * if the address cannot be used
 */
export async function serveFrames(kernel: Kernel, { address, ...options }: ServeFramesOptions): Promise<FrameServer> {
  return serveAt(kernel, parseFrameAddress(address), options);
}

async function serveAt(
  kernel: Kernel,
  address: FrameAddress,
  options: FrameServerOptions & Pick<ServeFramesOptions, "tls" | "strangers">,
): Promise<FrameServer> {
  const { also, tls } = options;
  const peers = new Set<SocketPeer>();
  const maxStreams = options.maxStreams ?? DEFAULT_MAX_STREAMS;
  const share = { kernel, methods: new MethodLookup(kernel), maxStreams, also };
  const strangers = options.strangers && new Strangers(options.strangers);
  const connected = (socket: Socket) => {
    const peer = new SocketPeer(socket, share, credentialsOf(socket, address, strangers));
    peers.add(peer);
    socket.once("close", () => peers.delete(peer));
  };
  const alsoProtocols = [...(also?.http2 ? ["h2"] : []), ...(also?.http1 ? ["http/1.1"] : [])];
  const server = createListener(address, { tls, alsoProtocols, connected });
  server.maxConnections = options.maxConnections ?? DEFAULT_MAX_CONNECTIONS;
  const listening = await listenAt(server, address, options.mode);
  // Errors of single accepts (out of file descriptors) must not end the process; the peer sees a closed connection.
  server.on("error", () => {});
  const stopped = new Promise<void>((resolve) => server.once("close", () => resolve()));
  let closing: Promise<void> | undefined;
  const close = (graceMs: number) => {
    closing ??= closeAll({ listening, peers, stopped, stop: () => server.close(), graceMs });
    return closing;
  };
  const defaultGrace = options.graceMs ?? DEFAULT_GRACE_MS;
  return {
    address: formatFrameAddress(listening.address),
    get connections() {
      return peers.size;
    },
    close: ({ graceMs = defaultGrace } = {}) => close(graceMs),
    [Symbol.asyncDispose]: () => close(defaultGrace),
  };
}

/** Whoever reaches the socket file is a user of it; a port of this machine is open to everybody on it. */
function credentialsOf(socket: Socket, { kind }: FrameAddress, strangers: Strangers | undefined): PeerCredentials {
  if (kind === "unix") return { transport: "socket" };
  const isTls = socket instanceof TLSSocket;
  const peer = isTls ? spiffeIdOf(socket) : undefined;
  if (strangers === undefined || (isTls && socket.authorized)) return { transport: "network", peer };
  return { transport: "network", peer, known: strangers.add(socket) };
}

interface Closing {
  listening: Listening;
  peers: Set<SocketPeer>;
  stopped: Promise<void>;
  stop: () => void;
  graceMs: number;
}

async function closeAll({ listening, peers, stopped, stop, graceMs }: Closing): Promise<void> {
  stop();
  for (const peer of peers)
    peer.drain(stopping("The server is stopping; try again when it is back.", "SERVER_STOPPING"));
  const interrupted = stopping("The server stopped while the call was running.", "INTERRUPTED");
  const timers = [
    setTimeout(() => {
      for (const peer of peers) peer.abort(interrupted);
    }, graceMs),
    // A peer that does not even take its last answers is cut off.
    setTimeout(() => {
      for (const peer of peers) peer.destroy();
    }, graceMs + LAST_ANSWERS_MS),
  ];
  await Promise.all([listening.remove(), stopped]);
  for (const timer of timers) clearTimeout(timer);
  peers.clear();
}

function stopping(message: string, reason: "SERVER_STOPPING" | "INTERRUPTED"): HmsError {
  return new HmsError("UNAVAILABLE", message, { reason });
}

const LAST_ANSWERS_MS = 250;
