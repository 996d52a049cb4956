import type { Server } from "node:http";
import type { Socket } from "node:net";
import { type ProtocolHandler, readFirstBytes } from "@hms/wire";

/** A client that has not said what it speaks by then is let go. */
const FIRST_BYTES_MS = 10_000;

/** Connections of a server that are not among those it closes itself. */
export interface OtherConnections {
  /** Lets running requests finish, then ends the connections. */
  leave(): void;
  /** Ends them at once. */
  destroy(): void;
}

/**
 * Lets an HTTP/1.1 server answer HTTP/2 with prior knowledge on the same connections, by a handler of `httpProtocols`. A
 * connection that speaks neither is the server's to refuse.
 */
export function alsoHttp2(server: Server, http2: ProtocolHandler): OtherConnections {
  const open = new Map<Socket, () => void>();
  const asHttp1 = server.listeners("connection") as ((this: Server, socket: Socket) => void)[];
  server.removeAllListeners("connection");
  server.on("connection", (socket) => {
    open.set(socket, () => socket.destroy());
    socket.once("close", () => open.delete(socket));
    socket.on("error", ignore);
    const decided = (protocol: string, read: Buffer) => {
      socket.unshift(read);
      if (protocol === "http2") {
        open.set(socket, http2(socket) ?? (() => socket.end()));
        return;
      }
      open.delete(socket);
      socket.off("error", ignore);
      for (const listener of asHttp1) listener.call(server, socket);
    };
    readFirstBytes(socket, { withinMs: FIRST_BYTES_MS, decided });
  });
  return {
    leave() {
      for (const leave of open.values()) leave();
    },
    destroy() {
      for (const socket of open.keys()) socket.destroy();
    },
  };
}

// Whatever goes wrong with a socket, its end follows and is what counts.
function ignore(): void {}
