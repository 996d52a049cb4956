import { closeSync, constants, openSync } from "node:fs";
import { Socket } from "node:net";

/** Every FIFO is read into the same memory: what is read is used up before the next read. */
const sharedBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * The reading end of a FIFO; occupies no thread and, while nothing comes, no memory. It ends when the last writer has
 * gone; opened before the first writer came, it waits for one. What was written stays in it until it is read or closed.
 */
export class Fifo {
  readonly #descriptor: number;
  #socket: Socket | undefined;
  #closed = false;

  constructor(path: string) {
    this.#descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  }

  /** Reads it as a stream. Only one of stream() and each(), once. */
  stream(): Socket {
    return this.#take({});
  }

  /** Calls back with each chunk, which is valid during the call only; after `false` it waits for resume() of the answer. */
  each(callback: (chunk: Buffer) => boolean): Socket {
    const onread = {
      buffer: sharedBuffer,
      callback: (bytes: number) => callback(sharedBuffer.subarray(0, bytes)),
    };
    return this.#take({ onread });
  }

  /** Lets go of it; whoever writes into it goes on. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#socket) this.#socket.destroy();
    else closeSync(this.#descriptor);
  }

  #take(options: object): Socket {
    const socket = new Socket({ fd: this.#descriptor, readable: true, writable: false, ...options });
    // A FIFO cannot fail in a way that its end does not tell as well.
    socket.on("error", () => socket.destroy());
    this.#socket = socket;
    return socket;
  }
}
