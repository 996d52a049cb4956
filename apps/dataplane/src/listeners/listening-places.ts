import type { Server } from "node:net";
import { formatGatewayAddress, type GatewayAddress } from "@hms/config";
import { type ListenerSet, listenProblem } from "@hms/handover";
import type { Logger } from "@hms/telemetry";

/** What places are made of. */
export interface ListeningPlacesOptions<One> {
  readonly listeners: ListenerSet;
  readonly log: Logger;
  /** Makes what answers at one place. */
  readonly make: () => One;
  readonly serverOf: (one: One) => Server;
  /** What answers there, as people call it: "gateway". */
  readonly what: string;
}

/**
 * Servers that listen at exactly the addresses that are wanted. Their sockets outlive the process; what cannot be had now is
 * told of, and tried again each time that it is wanted.
 */
export class ListeningPlaces<One> {
  readonly #options: ListeningPlacesOptions<One>;
  readonly #open = new Map<string, { address: GatewayAddress; one: One }>();
  readonly #waiting = new Map<string, One>();
  #problems: ReadonlyMap<string, string> = new Map();

  constructor(options: ListeningPlacesOptions<One>) {
    this.#options = options;
  }

  /** What answers now. */
  get open(): One[] {
    return [...this.#open.values()].map(({ one }) => one);
  }

  /** Whether it listens at an address now. */
  isOpen(address: GatewayAddress): boolean {
    return this.#open.has(formatGatewayAddress(address));
  }

  /** Why an address is not listened at, one each. */
  get problems(): string[] {
    return [...this.#problems.values()];
  }

  /** Listens at these addresses from now on, and at no others. Rejects only with what `make` raises. */
  async want(addresses: readonly GatewayAddress[]): Promise<void> {
    const wanted = new Map(addresses.map((address) => [formatGatewayAddress(address), address]));
    for (const [key, { address }] of this.#open) if (!wanted.has(key)) this.#close(key, address);
    for (const key of this.#waiting.keys()) if (!wanted.has(key)) this.#waiting.delete(key);
    const problems = new Map<string, string>();
    for (const [key, address] of wanted) {
      const problem = this.#open.has(key) ? undefined : await this.#listen(key, address);
      if (problem !== undefined) problems.set(key, problem);
    }
    this.#problems = problems;
  }

  async #listen(key: string, address: GatewayAddress): Promise<string | undefined> {
    const { listeners, log, make, serverOf, what } = this.#options;
    // A server that could not listen can try again.
    const one = this.#waiting.get(key) ?? make();
    this.#waiting.set(key, one);
    try {
      await listeners.listen(serverOf(one), address.host, address.port);
    } catch (error) {
      const why = listenProblem(error, { protocol: "tcp", address: address.host, port: address.port });
      const problem = `the ${what} cannot listen at ${key}: ${why}`;
      if (this.#problems.get(key) !== problem)
        log.error(`${problem} It is tried again each second; everything else goes on.`);
      return problem;
    }
    this.#waiting.delete(key);
    this.#open.set(key, { address, one });
    log.info(`the ${what} listens at ${key}`);
    return undefined;
  }

  #close(key: string, { host, port }: GatewayAddress): void {
    this.#options.listeners.close({ protocol: "tcp", address: host, port });
    this.#open.delete(key);
    this.#options.log.info(`the ${this.#options.what} listens at ${key} no more`);
  }
}
