import type { Socket } from "node:net";
import type { HmsError } from "@hms/kernel";
import { ServerConnection, type ServerShare } from "./server-connection.ts";

const NOT_FRAMES = "This socket speaks HMS-SYS frames (ttrpc 1.2), not HTTP: use hms-sys or an SDK.\n";

/** Whoever has connected to a server's socket; the first byte decides what is spoken: 0 means frames. */
export class SocketPeer {
  readonly #socket: Socket;
  #connection: ServerConnection | undefined;

  constructor(socket: Socket, share: ServerShare) {
    this.#socket = socket;
    // Whatever goes wrong with a socket, its end follows and is what counts.
    socket.on("error", () => {});
    socket.once("data", (first: Buffer) => {
      if (first[0] === 0) {
        this.#connection = new ServerConnection(socket, share);
        this.#connection.take(first);
      } else {
        socket.end(NOT_FRAMES);
        socket.destroySoon();
      }
    });
  }

  /** Lets running calls finish, then says goodbye. */
  drain(error: HmsError): void {
    if (this.#connection) this.#connection.drain(error);
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
