import type { mesh } from "@hms/contracts";
import { endpointConflict, routeConflict } from "./errors.ts";
import { findRouteConflict } from "./route-rules.ts";
import type { ServiceKey } from "./store.ts";

/** Picks out the service of a key. */
export const isFor = (key: ServiceKey) => (entry: ServiceKey) =>
  entry.environment === key.environment && entry.name === key.name;

/** @throws HmsError ALREADY_EXISTS if another service has an endpoint or a route of this picture. */
export function checkConflicts(picture: mesh.MeshServiceEntry, services: readonly mesh.MeshServiceEntry[]): void {
  const own = new Set(picture.endpoints.map(({ endpointId }) => endpointId));
  for (const service of services) {
    if (isFor(picture)(service)) continue;
    const shared = service.endpoints.find(({ endpointId }) => own.has(endpointId));
    if (shared) throw endpointConflict(shared.endpointId, service);
  }
  const conflict = findRouteConflict(picture, services);
  if (conflict) throw routeConflict(conflict.route, conflict.holder);
}
