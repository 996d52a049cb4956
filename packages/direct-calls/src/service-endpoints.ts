import type { FoundService } from "@hms/directory";
import { Balancer, RetryBudget } from "@hms/proxy/balancing";
import type { ChannelSchemes } from "./channel.ts";
import { InstanceEndpoint } from "./instance-endpoint.ts";

/** Those that get calls, and those that only get what nobody else can take. */
interface Balancers {
  readonly usual: Balancer<InstanceEndpoint>;
  readonly spare: Balancer<InstanceEndpoint>;
}

function balancersOf(endpoints: readonly InstanceEndpoint[]): Balancers {
  const usual = endpoints.filter(({ isSpare }) => !isSpare);
  return { usual: new Balancer(usual), spare: new Balancer(endpoints.filter(({ isSpare }) => isSpare)) };
}

/** The instances of one service version, shared by everybody in this process who calls it. */
export class ServiceEndpoints {
  readonly budget = new RetryBudget();
  readonly #schemes: ChannelSchemes;
  readonly #endpoints = new Map<string, InstanceEndpoint>();
  /** Callers with different tickets have different answers; what is worked out for one is kept with it. */
  readonly #balancers = new WeakMap<FoundService, Balancers>();

  constructor(schemes: ChannelSchemes) {
    this.#schemes = schemes;
  }

  /** The endpoint for a call that has not been made at `tried`; null if there is none. */
  pick(found: FoundService, tried: readonly InstanceEndpoint[]): InstanceEndpoint | null {
    let balancers = this.#balancers.get(found);
    if (balancers === undefined) {
      balancers = balancersOf(this.#endpointsOf(found));
      this.#balancers.set(found, balancers);
    }
    const now = performance.now();
    return balancers.usual.pick(now, tried) ?? balancers.spare.pick(now, tried);
  }

  /** The endpoint of one replica, whatever its share; undefined if none says that it is it. */
  ofReplica(found: FoundService, replica: string): InstanceEndpoint | undefined {
    const own = new Set(found.entry.instances.filter((one) => one.replica === replica).map((one) => one.instanceId));
    const endpoints = this.#endpointsOf(found).filter(({ instanceId }) => own.has(instanceId));
    // One that was killed is on record until its lease ends.
    return endpoints.find((endpoint) => !endpoint.isAbsent) ?? endpoints[0];
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
