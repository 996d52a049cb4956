import type { FoundService } from "@hms/directory";
import { Balancer, RetryBudget } from "@hms/proxy/balancing";
import type { ChannelSchemes } from "./channel.ts";
import { InstanceEndpoint } from "./instance-endpoint.ts";

/** The instances of one service version, shared by everybody in this process who calls it. */
export class ServiceEndpoints {
  readonly budget = new RetryBudget();
  readonly #schemes: ChannelSchemes;
  readonly #endpoints = new Map<string, InstanceEndpoint>();
  /** Callers with different tickets have different answers; what is worked out for one is kept with it. */
  readonly #balancers = new WeakMap<FoundService, Balancer<InstanceEndpoint>>();

  constructor(schemes: ChannelSchemes) {
    this.#schemes = schemes;
  }

  /** The endpoint for a call that has not been made at `tried`; null if there is none. */
  pick(found: FoundService, tried: readonly InstanceEndpoint[]): InstanceEndpoint | null {
    let balancer = this.#balancers.get(found);
    if (balancer === undefined) {
      balancer = new Balancer(this.#endpointsOf(found));
      this.#balancers.set(found, balancer);
    }
    return balancer.pick(performance.now(), tried);
  }

  #endpointsOf({ entry, tickets }: FoundService): InstanceEndpoint[] {
    const { instances } = entry;
    const present = new Set(instances.map(({ instanceId }) => instanceId));
    for (const [instanceId, endpoint] of this.#endpoints) {
      if (present.has(instanceId)) continue;
      this.#endpoints.delete(instanceId);
      endpoint.retire();
    }
    const endpoints = instances.map((instance) => {
      const known = this.#endpoints.get(instance.instanceId);
      const endpoint = known ?? new InstanceEndpoint(instance, this.#schemes);
      endpoint.update(instance);
      this.#endpoints.set(instance.instanceId, endpoint);
      return endpoint;
    });
    // An instance that has just come has no ticket yet; until it has, the others are called.
    const usable = endpoints.filter((endpoint) => endpoint.address !== undefined);
    const allowed = usable.filter(({ instanceId }) => tickets.has(instanceId));
    return allowed.length > 0 ? allowed : usable;
  }

  /** An endpoint that has been called, for explanations. */
  known(instanceId: string): InstanceEndpoint | undefined {
    return this.#endpoints.get(instanceId);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#endpoints.values()].map((endpoint) => endpoint.close()));
    this.#endpoints.clear();
  }
}
