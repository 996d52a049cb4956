import { closeSync, constants, openSync } from "node:fs";
import { Socket } from "node:net";

/**
 * Opens a FIFO for reading without occupying a thread. It ends when the last writer has gone; opened before the first
 * writer came, it waits for one. Paused until somebody reads.
 */
export function openFifo(path: string): Socket {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const socket = new Socket({ fd, readable: true, writable: false });
    // A FIFO cannot fail in a way that its end does not tell as well.
    socket.on("error", () => socket.destroy());
    return socket;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
