import { HmsError } from "@hms/kernel";
import type { Registered } from "./instance-rows.ts";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { Registration } from "./register-request.ts";
import type { ServiceKey } from "./service-key.ts";
import type { RegistryStore, Removal } from "./store.ts";
import type { WatchHub } from "./watch-hub.ts";

/**
 * Adds and removes instances: commits, tells the watches and moves the timer of leases, then answers: whoever has been
 * answered finds that all who watch here know it.
 */
export class Registrations {
  readonly #store: RegistryStore;
  readonly #hub: WatchHub;
  readonly #leases: LeaseKeeper;

  constructor(store: RegistryStore, hub: WatchHub, leases: LeaseKeeper) {
    this.#store = store;
    this.#hub = hub;
    this.#leases = leases;
  }

  /** Adds or renews an instance; may safely be done twice. A mere renewal is no change, neither to watches nor to audit. */
  async register(registration: Registration): Promise<Registered & { isRenewal: boolean }> {
    try {
      const renewed = registration.contract ? undefined : await this.#store.renew(registration);
      const registered = renewed ?? (await this.#store.register(registration));
      this.#leases.endsIn(registration.leaseMs);
      if (!renewed) await this.#hub.touch([registration]);
      return { ...registered, isRenewal: renewed !== undefined };
    } catch (error) {
      if (HmsError.from(error).code === "UNAVAILABLE") this.#leases.noteOutage();
      throw error;
    }
  }

  /** Removes an instance; without it already, nothing happens. */
  async unregister(key: ServiceKey, removal: Removal): Promise<void> {
    await this.#store.unregister(key, removal);
    await this.#hub.touch([key]);
  }
}
