import type { Server } from "node:http";
import { type GatewayListen, type InstancePaths, readGatewayListen } from "@hms/config";
import type { ListenerSet } from "@hms/handover";
import type { ProxyEngine } from "@hms/proxy";
import type { Logger } from "@hms/telemetry";
import { ListeningPlaces } from "./listening-places.ts";

const LOOK_EVERY_MS = 1000;

/** What the gateway's addresses beside loopback are made of. */
export interface GatewayAddressesOptions {
  readonly paths: Pick<InstancePaths, "data">;
  readonly engine: ProxyEngine;
  readonly listeners: ListenerSet;
  readonly log: Logger;
}

/**
 * Has the gateway listen beside loopback where `up` was told to; a change holds within a second. An address that cannot be
 * had (not there yet, taken) is told of and tried again: what is on loopback, and the mesh, do not wait for it.
 */
export class GatewayAddresses {
  readonly #options: GatewayAddressesOptions;
  readonly #places: ListeningPlaces<Server>;
  #listen: GatewayListen = { http: [], https: [] };
  #problem: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: GatewayAddressesOptions) {
    const { engine, listeners, log } = options;
    this.#options = options;
    this.#places = new ListeningPlaces({
      listeners,
      log,
      what: "gateway",
      make: () => engine.createServer(engine.gatewayHandler),
      serverOf: (server) => server,
    });
  }

  /** Where TLS is to be spoken beside loopback. */
  get https(): GatewayListen["https"] {
    return this.#listen.https;
  }

  /** Why an address is not as it is wanted. */
  get problems(): string[] {
    return [...(this.#problem === undefined ? [] : [this.#problem]), ...this.#places.problems];
  }

  /** Listens, and looks for changes from now on. */
  async start(): Promise<void> {
    await this.#look();
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => void this.start(), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /** Looks no more; what listens is closed with everything else. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    try {
      this.#listen = readGatewayListen(this.#options.paths);
      this.#problem = undefined;
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#problem) this.#options.log.error(`${message} What was listened at before goes on.`);
      this.#problem = message;
    }
    await this.#places.want(this.#listen.http);
  }
}
