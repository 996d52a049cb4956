import { createHash } from "node:crypto";
import { HmsError } from "@hms/kernel";
import type { LeaseKeeper } from "./lease-keeper.ts";
import type { Registration } from "./register-request.ts";
import type { ServiceKey } from "./service-key.ts";
import type { RegistryStore } from "./store.ts";
import type { WatchHub } from "./watch-hub.ts";

/** Adds and removes instances: commits, then tells the watches and moves the timer of leases. */
export class Registrations {
  readonly #store: RegistryStore;
  readonly #hub: WatchHub;
  readonly #leases: LeaseKeeper;

  constructor(store: RegistryStore, hub: WatchHub, leases: LeaseKeeper) {
    this.#store = store;
    this.#hub = hub;
    this.#leases = leases;
  }

  /** Adds or renews an instance; may safely be done twice. The end of its lease. A mere renewal is no change to watches. */
  async register(registration: Registration): Promise<Date> {
    const { fileDescriptorSet, leaseMs } = registration;
    const hasContract = fileDescriptorSet.length > 0;
    try {
      const renewed = hasContract ? undefined : await this.#store.renew(registration);
      const end =
        renewed ?? (await this.#store.register(registration, hasContract ? sha256(fileDescriptorSet) : undefined));
      if (!renewed) this.#hub.touch([registration]);
      this.#leases.endsIn(leaseMs);
      return end;
    } catch (error) {
      if (HmsError.from(error).code === "UNAVAILABLE") this.#leases.noteOutage();
      throw error;
    }
  }

  /** Removes an instance; without it already, nothing happens. */
  async unregister(key: ServiceKey, instanceId: string): Promise<void> {
    await this.#store.unregister(key, instanceId);
    this.#hub.touch([key]);
  }
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}
