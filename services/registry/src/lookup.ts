import { registry } from "@hms/contracts";
import { noInstanceAvailable, serviceUnknown } from "./errors.ts";
import { nearestIds } from "./nearest-ids.ts";
import type { ServiceKey } from "./service-key.ts";
import type { Listed } from "./service-listing.ts";
import type { RegistryStore } from "./store.ts";

/** Reads from PostgreSQL, again while it is away. */
export type Patiently = <T>(work: () => Promise<T>) => Promise<T>;

/** Who looks up. */
export interface Asking {
  patiently: Patiently;
  /** Whether they may see a service: nothing else is named to them. */
  isVisible: (key: Pick<ServiceKey, "serviceId" | "environment">) => boolean;
}

/**
 * A service version with its available instances only.
 * @throws HmsError NOT_FOUND with the nearest names, UNAVAILABLE if all its instances are lost.
 */
export async function lookup(
  store: RegistryStore,
  key: ServiceKey,
  { patiently, isVisible }: Asking,
): Promise<Listed["entry"]> {
  const found = await patiently(() => store.find(key));
  if (found === undefined) {
    const { versions, serviceIds } = await patiently(() => store.names(key));
    const visible = serviceIds.filter((serviceId) => isVisible({ serviceId, environment: key.environment }));
    throw serviceUnknown(key, { versions, serviceIds: nearestIds(key.serviceId, visible) });
  }
  const all = found.entry.instances;
  const instances = all.filter(({ state }) => state === registry.InstanceState.AVAILABLE);
  if (instances.length === 0) throw noInstanceAvailable(key, all.length);
  return { ...found.entry, instances };
}
