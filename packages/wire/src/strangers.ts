import type { Socket } from "node:net";

/** How many may be connected whom nobody knows yet, and for how long. */
export interface StrangerLimits {
  /** Connections at once; with one more the oldest of them is ended. */
  readonly most: number;
  /** Until one of its calls has been let in. */
  readonly forMs: number;
}

/** The connections of a server that have shown nothing yet: no certificate, and no credentials that are good. */
export class Strangers {
  readonly #limits: StrangerLimits;
  readonly #waiting = new Map<Socket, NodeJS.Timeout>();

  constructor(limits: StrangerLimits) {
    this.#limits = limits;
  }

  /** Counts a connection among them; what is given back takes it out. */
  add(socket: Socket): () => void {
    const { most, forMs } = this.#limits;
    const [oldest] = this.#waiting.keys();
    if (oldest !== undefined && this.#waiting.size >= most) oldest.destroy();
    this.#waiting.set(
      socket,
      setTimeout(() => socket.destroy(), forMs),
    );
    const known = () => {
      clearTimeout(this.#waiting.get(socket));
      this.#waiting.delete(socket);
    };
    socket.once("close", known);
    return known;
  }
}
