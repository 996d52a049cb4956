import { createServer } from "node:net";
import { HmsError, type Kernel } from "@hms/kernel";
import { MethodLookup } from "./method-lookup.ts";
import { listenOnFile, type SocketFile } from "./socket-file.ts";
import { SocketPeer } from "./socket-peer.ts";

const DEFAULT_MAX_STREAMS = 1024;
const DEFAULT_MAX_CONNECTIONS = 4096;
const DEFAULT_GRACE_MS = 5_000;

/** How a socket server is set up. */
export interface ServeSocketOptions {
  /** The socket file, at most 107 bytes; made with mode 0600. */
  readonly path: string;
  /** Calls that one connection may have running; default 1024. More are refused with RESOURCE_EXHAUSTED. */
  readonly maxStreams?: number;
  /** Connections at once; default 4096. More are closed. */
  readonly maxConnections?: number;
  /** How long `close` lets running calls finish; default 5 s. */
  readonly graceMs?: number;
}

/** A kernel that answers on a unix socket. */
export interface SocketServer extends AsyncDisposable {
  readonly path: string;
  /** Peers connected now. */
  readonly connections: number;
  /**
   * Takes no more calls, ends reading streams, gives the others `graceMs` to finish, then ends everything with
   * UNAVAILABLE; never rejects, may be called twice.
   */
  close(options?: { graceMs?: number }): Promise<void>;
}

/**
 * Answers calls to a kernel on a unix socket with ttrpc 1.2 frames and the extensions of docs/wire.md.
 * @throws HmsError ALREADY_EXISTS if a server answers at the path, INVALID_ARGUMENT, PERMISSION_DENIED or
 * FAILED_PRECONDITION if the socket cannot be made there
 */
export async function serveSocket(kernel: Kernel, options: ServeSocketOptions): Promise<SocketServer> {
  const peers = new Set<SocketPeer>();
  const share = {
    kernel,
    methods: new MethodLookup(kernel),
    maxStreams: options.maxStreams ?? DEFAULT_MAX_STREAMS,
  };
  const server = createServer((socket) => {
    const peer = new SocketPeer(socket, share);
    peers.add(peer);
    socket.once("close", () => peers.delete(peer));
  });
  server.maxConnections = options.maxConnections ?? DEFAULT_MAX_CONNECTIONS;
  const file = await listenOnFile(server, options.path);
  // Errors of single accepts (out of file descriptors) must not end the process; the peer sees a closed connection.
  server.on("error", () => {});
  const stopped = new Promise<void>((resolve) => server.once("close", () => resolve()));
  let closing: Promise<void> | undefined;
  const close = (graceMs: number) => {
    closing ??= closeAll({ file, peers, stopped, stop: () => server.close(), graceMs });
    return closing;
  };
  const defaultGrace = options.graceMs ?? DEFAULT_GRACE_MS;
  return {
    path: options.path,
    get connections() {
      return peers.size;
    },
    close: ({ graceMs = defaultGrace } = {}) => close(graceMs),
    [Symbol.asyncDispose]: () => close(defaultGrace),
  };
}

interface Closing {
  file: SocketFile;
  peers: Set<SocketPeer>;
  stopped: Promise<void>;
  stop: () => void;
  graceMs: number;
}

async function closeAll({ file, peers, stopped, stop, graceMs }: Closing): Promise<void> {
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
  await Promise.all([file.remove(), stopped]);
  for (const timer of timers) clearTimeout(timer);
  peers.clear();
}

function stopping(message: string, reason: "SERVER_STOPPING" | "INTERRUPTED"): HmsError {
  return new HmsError("UNAVAILABLE", message, { reason });
}

const LAST_ANSWERS_MS = 250;
