import type { mesh } from "@hms/contracts";
import { type ListenAddress, type ListenerSet, listenProblem } from "@hms/handover";
import type { ProxyEngine } from "@hms/proxy";
import type { Logger } from "@hms/telemetry";
import type { RememberedAddresses } from "./remembered-addresses.ts";

const HTTP_PORT = 80;

/** What virtual addresses are made with. */
export interface VirtualAddressesOptions {
  engine: ProxyEngine;
  listeners: ListenerSet;
  remembered: RememberedAddresses;
  log: Logger;
}

interface OpenAddress {
  readonly where: ListenAddress;
  readonly service: string;
  readonly environment: string;
  readonly opening: Promise<void>;
}

/**
 * The mesh addresses of services: port 80 and every declared port. Each service's are opened when its name is first
 * asked for, and from then on at every start.
 */
export class VirtualAddresses {
  readonly #options: VirtualAddressesOptions;
  readonly #open = new Map<string, OpenAddress>();
  readonly #problems = new Map<string, string>();

  constructor(options: VirtualAddressesOptions) {
    this.#options = options;
  }

  /** How many addresses and ports are open or being opened. */
  get size(): number {
    return this.#open.size;
  }

  /** Why addresses that were asked for are not open. */
  get problems(): string[] {
    return [...this.#problems.values()];
  }

  /** True if the service's address is open. */
  isOpen(service: mesh.MeshServiceEntry): boolean {
    return this.#open.get(keyOf(service.vip, HTTP_PORT))?.service === serviceKey(service);
  }

  /** Resolves once the service's address accepts connections; rejects if its port 80 cannot be opened. */
  async open(service: mesh.MeshServiceEntry): Promise<void> {
    await Promise.all(portsOf(service).map((port) => this.#openPort(service, port)));
    try {
      this.#options.remembered.add(serviceKey(service));
    } catch (error) {
      this.#options.log.warn("an open address cannot be noted; after a restart it opens when it is asked for", {
        service: service.name,
        error,
      });
    }
  }

  /** Brings what is open in line with a snapshot: addresses asked for before, new ports, ports and environments that are no more. */
  async apply(services: Iterable<mesh.MeshServiceEntry>, environments: readonly { name: string }[]): Promise<void> {
    const all = [...services];
    const there = new Set([...environments.map(({ name }) => name), ...all.map(({ environment }) => environment)]);
    const gone = [...this.#open.values()].filter(({ environment }) => !there.has(environment));
    await Promise.all(gone.map((open) => this.#closeOpened(open)));
    const wanted = all.filter((service) => this.#options.remembered.has(serviceKey(service)));
    for (const service of wanted) this.#closeOthers(service);
    await Promise.allSettled(wanted.map((service) => this.open(service)));
  }

  #closeOthers(service: mesh.MeshServiceEntry): void {
    const keep = new Set(portsOf(service).map((port) => keyOf(service.vip, port)));
    for (const [key, open] of this.#open) {
      if (open.service === serviceKey(service) && !keep.has(key)) this.#close(open);
    }
  }

  async #closeOpened(open: OpenAddress): Promise<void> {
    await open.opening.catch(() => {});
    if (this.#open.get(keyOf(open.where.address, open.where.port)) === open) this.#close(open);
  }

  #close({ where }: OpenAddress): void {
    this.#options.listeners.close(where);
    this.#open.delete(keyOf(where.address, where.port));
  }

  async #openPort(service: mesh.MeshServiceEntry, port: number): Promise<void> {
    const key = keyOf(service.vip, port);
    const known = this.#open.get(key);
    if (known?.service === serviceKey(service)) return known.opening;
    // The address was another service's, whose environment is no more.
    if (known) {
      await this.#closeOpened(known);
      return this.#openPort(service, port);
    }
    const where: ListenAddress = { protocol: "tcp", address: service.vip, port };
    const opening = this.#listen(service, where);
    this.#open.set(key, { where, service: serviceKey(service), environment: service.environment, opening });
    return opening;
  }

  async #listen({ environment, name }: mesh.MeshServiceEntry, where: ListenAddress): Promise<void> {
    const { engine, listeners, log } = this.#options;
    const { address, port } = where;
    const key = keyOf(address, port);
    try {
      await listeners.listen(engine.createServer(engine.serviceHandler(environment, name)), address, port);
      this.#problems.delete(key);
    } catch (error) {
      this.#open.delete(key);
      const problem = listenProblem(error, where);
      if (this.#problems.get(key) !== problem) log.error(`the address of ${name} cannot be opened: ${problem}`);
      this.#problems.set(key, problem);
      // The name leads to port 80: without it, whoever has it would get the service's requests.
      if (port === HTTP_PORT) throw error;
    }
  }
}

function portsOf({ ports }: mesh.MeshServiceEntry): number[] {
  return [...new Set([HTTP_PORT, ...ports])];
}

function serviceKey({ environment, name }: mesh.MeshServiceEntry): string {
  return `${environment}/${name}`;
}

function keyOf(address: string, port: number): string {
  return `${address}:${port}`;
}
