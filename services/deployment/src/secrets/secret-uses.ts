import type { ResourceFilter } from "@hms/kernel";
import type { SecretUser } from "./secret-store.ts";

/** True of services that run, or start at the next request. */
export const isMeant = ({ wanted, asleep }: SecretUser) => wanted > 0 || asleep;

/** Who has a secret, of those that the caller may read. */
export function visibleUses(users: readonly SecretUser[], name: string, filter: ResourceFilter) {
  return users
    .filter(({ service, environment, owner }) => filter.allows({ name: service, environment, facts: { owner } }))
    .map(({ service, secrets, wanted }) => ({ service, version: BigInt(secrets[name] ?? 0), replicas: wanted }));
}
