import { setTimeout as pause } from "node:timers/promises";
import { registry } from "@hms/contracts";
import { type Client, HmsError } from "@hms/kernel";
import { Backoff } from "./backoff.ts";

/** A client of the registry. */
export type RegistryClient = Client<typeof registry.RegistryService>;

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;

/** Which services a watch is about. */
export interface WatchSelection {
  readonly environment: string;
  /** A service id with * for any part. */
  readonly pattern: string;
}

/** Who hears of what a watch sees. */
export interface WatchListener {
  /** A service is different now; undefined: it has gone. */
  changed(name: string, entry: registry.ServiceEntry | undefined): void;
  revoked(revocation: registry.Revocation): void;
  /** The watch broke; it is started anew. */
  failed(failure: HmsError): void;
}

/** How a service version is called within its environment. */
export function entryName({ serviceId, version }: { serviceId: string; version: string }): string {
  return `${serviceId}/${version}`;
}

/**
 * Follows services of the registry: what it knows stays when the watch breaks, and is compared with what is there once
 * the watch is back.
 */
export class ServiceWatch {
  readonly entries = new Map<string, registry.ServiceEntry>();
  /** Settles when all current entries have come once, or the watch has been stopped. */
  readonly synced: Promise<void>;
  readonly #selection: WatchSelection;
  readonly #registry: RegistryClient;
  readonly #listener: WatchListener;
  readonly #end = new AbortController();
  readonly #backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
  readonly #running: Promise<void>;
  #current = false;
  #resolveSynced = () => {};

  constructor(client: RegistryClient, selection: WatchSelection, listener: WatchListener) {
    this.#registry = client;
    this.#selection = selection;
    this.#listener = listener;
    this.synced = new Promise((resolve) => {
      this.#resolveSynced = resolve;
    });
    this.#running = this.#run();
  }

  /** True while the registry tells of every change. */
  get current(): boolean {
    return this.#current;
  }

  async #run(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted) {
      try {
        await this.#follow(signal);
      } catch (error) {
        if (!signal.aborted) this.#listener.failed(HmsError.from(error));
      }
      this.#current = false;
      await pause(this.#backoff.next(), undefined, { signal, ref: false }).catch(() => {});
    }
    this.#resolveSynced();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const unseen = new Set(this.entries.keys());
    const { CURRENT, REMOVED, REVOKED, SYNCED } = registry.WatchEventKind;
    for await (const { kind, service, revocation } of this.#registry.watch(this.#selection, { signal })) {
      if (kind === REVOKED && revocation) this.#listener.revoked(revocation);
      if (kind === SYNCED) this.#sync(unseen);
      if (service === undefined) continue;
      const name = entryName(service);
      unseen.delete(name);
      if (kind === CURRENT) this.#set(name, service);
      else if (kind === REMOVED) this.#set(name, undefined);
    }
  }

  #sync(gone: Set<string>): void {
    for (const name of gone) this.#set(name, undefined);
    gone.clear();
    this.#current = true;
    this.#backoff.reset();
    this.#resolveSynced();
  }

  #set(name: string, entry: registry.ServiceEntry | undefined): void {
    if (entry === undefined) this.entries.delete(name);
    else this.entries.set(name, entry);
    this.#listener.changed(name, entry);
  }

  /** Ends the watch; may be called twice. */
  async stop(): Promise<void> {
    this.#end.abort(new HmsError("CANCELLED", "The directory has been closed."));
    await this.#running;
  }
}
