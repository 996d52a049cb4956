import type { mesh } from "@hms/contracts";
import { type ListenAddress, type ListenerSet, listenProblem } from "@hms/handover";
import type { Logger } from "@hms/telemetry";
import type { NameSource } from "./name-answer.ts";
import { NameServer } from "./name-server.ts";

const DNS_PORT = 53;
/** Who has the port may let go of it, and the operator may allow what was forbidden. */
const TRY_AGAIN_MS = 10_000;

/** What a name service is made with. */
export interface NameServiceOptions {
  listeners: ListenerSet;
  source: Omit<NameSource, "environment">;
  log: Logger;
}

/**
 * One name server for each environment, on its own address; what cannot listen is tried again every 10 s. An address can be
 * another environment's, when its own is no more.
 */
export class NameService {
  readonly #options: NameServiceOptions;
  readonly #servers = new Map<string, NameServer>();
  readonly #problems = new Map<string, string>();
  readonly #opening = new Set<string>();
  #environments: readonly mesh.MeshEnvironment[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: NameServiceOptions) {
    this.#options = options;
  }

  /** Why names are not served by DNS; undefined if they are. */
  get problem(): string | undefined {
    return this.#problems.values().next().value;
  }

  /** Serves the names of these environments; never rejects. */
  async apply(environments: readonly mesh.MeshEnvironment[]): Promise<void> {
    this.#environments = environments;
    this.#settle();
    const closed = environments.filter(({ dnsAddress }) => !this.#servers.has(dnsAddress));
    await Promise.all(closed.map((environment) => this.#open(environment)));
  }

  /** Brings what is open in line with the environments that there are. */
  #settle(): void {
    const names = new Set(this.#environments.map(({ name }) => name));
    const byAddress = new Map(this.#environments.map(({ name, dnsAddress }) => [dnsAddress, name]));
    for (const [address, server] of this.#servers) {
      const environment = byAddress.get(address);
      if (environment !== undefined) server.environment = environment;
      // Programs of an environment that has moved to another address have the old one until they start anew.
      else if (!names.has(server.environment)) this.#close(address);
    }
    for (const address of this.#problems.keys()) if (!byAddress.has(address)) this.#problems.delete(address);
  }

  #close(address: string): void {
    this.#servers.delete(address);
    this.#options.listeners.close({ protocol: "udp", address, port: DNS_PORT });
    this.#options.listeners.close({ protocol: "tcp", address, port: DNS_PORT });
  }

  async #open({ name: environment, dnsAddress }: mesh.MeshEnvironment): Promise<void> {
    if (this.#isStopped || this.#opening.has(dnsAddress)) return;
    this.#opening.add(dnsAddress);
    try {
      this.#servers.set(dnsAddress, await this.#listen(environment, dnsAddress));
      this.#settle();
      if (this.#problems.delete(dnsAddress)) this.#options.log.info("mesh names are served now", { dnsAddress });
    } catch (error) {
      this.#note(dnsAddress, (error as Error).message);
    } finally {
      this.#opening.delete(dnsAddress);
    }
  }

  async #listen(environment: string, address: string): Promise<NameServer> {
    const { listeners, source } = this.#options;
    const server = new NameServer({ ...source, environment });
    const udp: ListenAddress = { protocol: "udp", address, port: DNS_PORT };
    const tcp: ListenAddress = { protocol: "tcp", address, port: DNS_PORT };
    const socket = await listeners.bind(address, DNS_PORT).catch((error) => {
      throw new Error(listenProblem(error, udp), { cause: error });
    });
    try {
      await listeners.listen(server.tcp, address, DNS_PORT);
    } catch (error) {
      listeners.close(udp);
      throw new Error(listenProblem(error, tcp), { cause: error });
    }
    server.serveUdp(socket);
    return server;
  }

  #note(dnsAddress: string, problem: string): void {
    if (this.#problems.get(dnsAddress) !== problem) {
      this.#options.log.warn(`mesh names cannot be served by DNS; programs need the proxy variables: ${problem}`);
    }
    this.#problems.set(dnsAddress, problem);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.apply(this.#environments);
    }, TRY_AGAIN_MS).unref();
  }

  /** Opens nothing more; resolves when every query that has come is answered. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await Promise.all([...this.#servers.values()].map((server) => server.idle()));
  }
}
