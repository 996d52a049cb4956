import { HmsError } from "@hms/kernel";
import { foreignRegistrations } from "./foreign-request.ts";
import type { ForeignServer, ForeignStore } from "./foreign-store.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { ForeignServers } from "./ports.ts";
import { type Registration, renewIntervalMs } from "./register-request.ts";
import type { ServiceKey } from "./service-key.ts";
import type { WatchHub } from "./watch-hub.ts";

/** A server's contract is read again this often: it may have been replaced without having been away. */
const CHECKS_PER_READING = 6;
const REFLECT_TIMEOUT_MS = 10_000;

/** What the keeper works with. */
export interface ForeignKeeperParts {
  store: ForeignStore;
  servers: ForeignServers;
  hub: WatchHub;
  leases: LeaseKeeper;
  /** How long a server stays available after it was last seen alive; asked three times as often. */
  leaseMs: number;
  stopping: AbortSignal;
  /** Hears what keeps a server from being available. */
  failed: (failure: HmsError) => void;
}

/** Keeps stock gRPC servers available while they live: it renews for them what others renew themselves. */
export class ForeignKeeper {
  readonly #parts: ForeignKeeperParts;
  /** How many checks each server has passed since its contract was read. */
  readonly #checks = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;

  constructor(parts: ForeignKeeperParts) {
    this.#parts = parts;
    parts.stopping.addEventListener("abort", () => clearTimeout(this.#timer), { once: true });
  }

  /** Begins to ask, at once and then each third of a lease. */
  start(): void {
    this.#round ??= this.#checkAll().finally(() => {
      this.#round = undefined;
      if (this.#parts.stopping.aborted) return;
      this.#timer = setTimeout(() => this.start(), renewIntervalMs(this.#parts.leaseMs)).unref();
    });
  }

  /** Settles when nobody is being asked. */
  async settled(): Promise<void> {
    await this.#round;
  }

  /**
   * Reads a server's contracts; what is to be registered for them.
   * @throws HmsError as the server's reflection does, FAILED_PRECONDITION if nothing of it can be registered.
   */
  async read(server: ForeignServer, signal: AbortSignal): Promise<Registration[]> {
    const { servers, leaseMs } = this.#parts;
    const limited = AbortSignal.any([signal, AbortSignal.timeout(REFLECT_TIMEOUT_MS)]);
    return foreignRegistrations(server, await servers.reflect(server.address, server.services, limited), leaseMs);
  }

  /**
   * Registers what was read of a server. The services that have changed; undefined if `onlyIfKnown` and the server was
   * removed meanwhile.
   * @throws HmsError FAILED_PRECONDITION if a contract breaks callers.
   */
  async put(
    server: ForeignServer,
    registrations: readonly Registration[],
    options: { onlyIfKnown: boolean },
  ): Promise<ServiceKey[] | undefined> {
    const { store, hub, leases, leaseMs } = this.#parts;
    const changed = await store.put(server, registrations, options);
    if (changed === undefined) return undefined;
    this.#checks.set(nameOf(server), 1);
    void hub.touch(changed);
    leases.endsIn(leaseMs);
    return changed;
  }

  async #checkAll(): Promise<void> {
    try {
      const all = await this.#parts.store.list();
      const names = new Set(all.map(nameOf));
      for (const name of this.#checks.keys()) if (!names.has(name)) this.#checks.delete(name);
      await Promise.all(all.map((server) => this.#check(server)));
    } catch (error) {
      this.#fail(error);
    }
  }

  async #check(server: ForeignServer): Promise<void> {
    const { servers, stopping, leaseMs } = this.#parts;
    const name = nameOf(server);
    try {
      const signal = AbortSignal.any([stopping, AbortSignal.timeout(renewIntervalMs(leaseMs))]);
      const { alive, reason } = await servers.alive(server.address, signal);
      if (!alive) {
        // Whatever is there when it comes back may be another program.
        this.#checks.delete(name);
        throw new HmsError("UNAVAILABLE", `The server at ${server.address} is not available: ${reason}.`);
      }
      const checks = this.#checks.get(name) ?? 0;
      if (checks % CHECKS_PER_READING === 0) {
        await this.put(server, await this.read(server, stopping), { onlyIfKnown: true });
      } else await this.#renew(server, checks);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #renew(server: ForeignServer, checks: number): Promise<void> {
    const { store, hub, leases, leaseMs } = this.#parts;
    const { count, back } = await store.renew(server, leaseMs);
    // Nothing left to renew was forgotten: it is read anew.
    this.#checks.set(nameOf(server), count === 0 ? 0 : checks + 1);
    if (back.length > 0) void hub.touch(back);
    leases.endsIn(leaseMs);
  }

  #fail(error: unknown): void {
    if (!this.#parts.stopping.aborted) this.#parts.failed(HmsError.from(error));
  }
}

function nameOf({ environment, address }: ForeignServer): string {
  return `${environment}/${address}`;
}
