import type { Socket } from "node:net";
import { FrameReader, type FrameSink } from "./frame-reader.ts";
import { FrameWriter } from "./frame-writer.ts";

/** Who uses a port. */
export interface PortOwner extends FrameSink {
  /** The connection has ended, whoever ended it; called once. */
  ended(): void;
}

/** One side of a connection: frames come out of it and go into it. */
export class FramePort {
  readonly writer: FrameWriter;
  /** Counts up with everything that arrives. */
  chunks = 0;
  readonly #socket: Socket;
  readonly #reader: FrameReader;
  #pauses = 0;

  constructor(socket: Socket, owner: PortOwner) {
    this.#socket = socket;
    this.writer = new FrameWriter(socket);
    this.#reader = new FrameReader(owner);
    socket.on("data", (chunk: Buffer) => this.take(chunk));
    // A peer that has said goodbye reads no answers.
    socket.on("end", () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#reader.stop();
      this.writer.close();
      owner.ended();
    });
  }

  /** Reads a chunk that has been taken from the socket. */
  take(chunk: Buffer): void {
    this.chunks += 1;
    this.#reader.push(chunk);
  }

  /** Stops reading, or takes one stop back; the peer then feels it by its socket. */
  pause(pause: boolean): void {
    this.#pauses += pause ? 1 : -1;
    if (this.#pauses > 0) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Whether this connection keeps the process alive. */
  keepAlive(keep: boolean): void {
    if (keep) this.#socket.ref();
    else this.#socket.unref();
  }

  /** Sends what has been written and says goodbye; what the peer still sends is read. */
  end(): void {
    this.writer.end();
  }

  /** Sends what has been written, reads nothing more, and ends. */
  finish(): void {
    this.#reader.stop();
    this.writer.end();
    this.#socket.destroySoon();
  }

  /** Ends at once. */
  destroy(): void {
    this.#socket.destroy();
  }
}
