import type { Socket } from "node:net";
import type { HmsError } from "@hms/kernel";
import { PeerCallers, type PeerCredentials } from "./caller-facts.ts";
import { type FirstProtocol, readFirstBytes } from "./first-bytes.ts";
import { ServerConnection, type ServerShare } from "./server-connection.ts";

const NOT_FRAMES = "This socket speaks HMS-SYS frames (ttrpc 1.2), not HTTP: use hms-sys or an SDK.\n";
/** Over the network, who has said nothing by then is let go: whoever connects costs room. */
const FIRST_WORD_MS = 10_000;

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
    const withinMs = credentials.transport === "network" ? FIRST_WORD_MS : undefined;
    const decided = (protocol: FirstProtocol, read: Buffer) => {
      if (protocol === "frames") {
        this.#connection = new ServerConnection(socket, share, credentials);
        this.#connection.take(read);
      } else {
        this.#hand(read, protocol === "none" ? undefined : share.also?.[protocol]);
      }
    };
    readFirstBytes(socket, { withinMs, decided });
  }

  #hand(first: Buffer, handler: ProtocolHandler | undefined): void {
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
