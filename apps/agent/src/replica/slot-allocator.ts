import { createServer } from "node:net";
import { HmsError } from "@hms/kernel";

/** The size of an installation's port range. */
const SLOTS = 5000;

/** Gives each replica, task and build a port of its own out of the installation's range, never one to two. */
export class SlotAllocator {
  readonly #base: number;
  readonly #used = new Set<number>();
  #next = 0;

  constructor(base: number) {
    this.#base = base;
  }

  /** Marks a port as used by a replica known from before; false if it is taken or outside the range. */
  reserve(port: number): boolean {
    if (this.#used.has(port) || port < this.#base || port >= this.#base + SLOTS) return false;
    this.#used.add(port);
    // New replicas continue after the known ones, so that a port is not given again soon after its end.
    this.#next = Math.max(this.#next, port - this.#base + 1) % SLOTS;
    return true;
  }

  /**
   * Takes a port that nobody on this machine listens on.
   * @throws HmsError RESOURCE_EXHAUSTED if all 5000 are in use.
   */
  async take(): Promise<number> {
    for (let tried = 0; tried < SLOTS; tried++) {
      const port = this.#base + this.#next;
      this.#next = (this.#next + 1) % SLOTS;
      if (this.#used.has(port)) continue;
      this.#used.add(port);
      if (await isPortFree(port)) return port;
      this.#used.delete(port);
    }
    throw new HmsError("RESOURCE_EXHAUSTED", `All ports from ${this.#base} to ${this.#base + SLOTS - 1} are in use.`);
  }

  /** Gives a port back. */
  release(port: number): void {
    this.#used.delete(port);
  }
}

/** True if a program could listen on that port of 127.0.0.1 now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
