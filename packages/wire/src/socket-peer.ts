import type { Socket } from "node:net";
import type { HmsError } from "@hms/kernel";
import { PeerCallers, type PeerCredentials } from "./caller-facts.ts";
import { ServerConnection, type ServerShare } from "./server-connection.ts";

const NOT_FRAMES = "This socket speaks HMS-SYS frames (ttrpc 1.2), not HTTP: use hms-sys or an SDK.\n";
/** "PRI * HTTP/2.0", the client's preface (RFC 9113, section 3.4); no HTTP/1.1 method begins so. */
const HTTP2_START = "PRI ";
const UPPER_A = 0x41;
const UPPER_Z = 0x5a;

/**
 * Takes a connection over that speaks something else; nothing of it has been read yet. What it gives back, if anything,
 * is called when the server stops: it lets running requests finish and then ends the connection.
 */
export type ProtocolHandler = (socket: Socket) => undefined | (() => void);

/** Protocols that are answered on the same socket. */
export interface OtherProtocols {
  /** HTTP/1.1, told by the upper-case letter that its methods begin with. */
  readonly http1?: ProtocolHandler;
  /** HTTP/2 with prior knowledge. */
  readonly http2?: ProtocolHandler;
}

const handed = new WeakMap<Socket, PeerCallers>();

/** Whoever calls on a connection that a ProtocolHandler has been given; on any other, whoever comes by the network. */
export function callersOf(socket: Socket): PeerCallers {
  let callers = handed.get(socket);
  if (callers === undefined) {
    callers = new PeerCallers({ transport: "network" });
    handed.set(socket, callers);
  }
  return callers;
}

/** What all connections of a server share. */
export interface PeerShare extends ServerShare {
  readonly also?: OtherProtocols | undefined;
}

/** Whoever has connected to a server's socket; the first byte decides what is spoken: 0 means frames. */
export class SocketPeer {
  readonly #socket: Socket;
  readonly #credentials: PeerCredentials;
  #connection: ServerConnection | undefined;
  /** Ends a connection that speaks something else, when its requests have been answered. */
  #leave: (() => void) | undefined;

  constructor(socket: Socket, share: PeerShare, credentials: PeerCredentials) {
    this.#socket = socket;
    this.#credentials = credentials;
    // Whatever goes wrong with a socket, its end follows and is what counts.
    socket.on("error", () => {});
    let seen: Buffer = Buffer.alloc(0);
    const look = () => {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) return;
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      if (isUndecided(seen)) return;
      socket.off("readable", look);
      if (seen[0] === 0) {
        this.#connection = new ServerConnection(socket, share, credentials);
        this.#connection.take(seen);
      } else {
        this.#hand(seen, share.also);
      }
    };
    socket.on("readable", look);
  }

  #hand(first: Buffer, also: OtherProtocols = {}): void {
    const handler = startsAsHttp2(first) ? also.http2 : startsAsHttp1(first) ? also.http1 : undefined;
    if (handler === undefined) {
      this.#socket.end(NOT_FRAMES);
      this.#socket.destroySoon();
      return;
    }
    handed.set(this.#socket, new PeerCallers(this.#credentials));
    this.#socket.unshift(first);
    this.#leave = handler(this.#socket) ?? (() => {});
  }

  /** Lets running calls finish, then says goodbye. */
  drain(error: HmsError): void {
    if (this.#connection) this.#connection.drain(error);
    else if (this.#leave) this.#leave();
    else this.#socket.end();
  }

  /** Ends running calls with an error, then says goodbye. */
  abort(error: HmsError): void {
    if (this.#connection) this.#connection.abort(error);
    else this.#socket.destroy();
  }

  /** Drops the connection at once. */
  destroy(): void {
    this.#socket.destroy();
  }
}

/** True while the bytes could still become the preface of HTTP/2 or a method of HTTP/1.1 that begins like it. */
function isUndecided(bytes: Buffer): boolean {
  return bytes.length < HTTP2_START.length && HTTP2_START.startsWith(bytes.toString("latin1"));
}

function startsAsHttp2(bytes: Buffer): boolean {
  return bytes.toString("latin1", 0, HTTP2_START.length) === HTTP2_START;
}

function startsAsHttp1([letter = 0]: Buffer): boolean {
  return letter >= UPPER_A && letter <= UPPER_Z;
}
