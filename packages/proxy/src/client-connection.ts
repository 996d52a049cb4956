import type { Socket } from "node:net";
import { CallerMemo } from "./caller.ts";
import { type ClientCertificate, clientCertificateOf } from "./client-certificate.ts";

/** Who answers on a connection at the moment. */
export interface ClientUser {
  onClientClosed(): void;
  onClientDrain(): void;
}

const CONNECTION = Symbol("client connection");

interface MarkedSocket extends Socket {
  [CONNECTION]?: ClientConnection;
}

/** What the proxy knows of one client's connection; a listener per connection, none per request. */
export class ClientConnection {
  readonly socket: Socket;
  /** The client's address without the IPv4-in-IPv6 prefix. */
  readonly address: string;
  readonly scheme: "http" | "https";
  user: ClientUser | null = null;
  /** What its last request has shown. */
  readonly memo = new CallerMemo();
  #certificate: ClientCertificate | null | undefined;
  /** When the last response ended, or the connection began, in `performance.now()` time. */
  idleSince = performance.now();

  constructor(socket: Socket) {
    this.socket = socket;
    const address = socket.remoteAddress ?? "unknown";
    this.address = address.startsWith("::ffff:") ? address.slice(7) : address;
    this.scheme = "encrypted" in socket && socket.encrypted === true ? "https" : "http";
    (socket as MarkedSocket)[CONNECTION] = this;
    socket.on("close", () => this.user?.onClientClosed());
    socket.on("drain", () => this.user?.onClientDrain());
  }

  /** What the client has shown at the handshake; null: nothing. */
  get certificate(): ClientCertificate | null {
    if (this.scheme === "http") return null;
    if (this.#certificate === undefined) this.#certificate = clientCertificateOf(this.socket);
    return this.#certificate;
  }

  /** Whether a server of the engine has accepted a socket; over TLS, whether keys have been agreed on. */
  static isKnown(socket: Socket): boolean {
    return (socket as MarkedSocket)[CONNECTION] !== undefined;
  }

  /** The record of a socket that a server of the engine accepted. */
  static of(socket: Socket): ClientConnection {
    return (socket as MarkedSocket)[CONNECTION] ?? new ClientConnection(socket);
  }
}
