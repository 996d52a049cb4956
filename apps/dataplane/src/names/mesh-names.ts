import type { mesh } from "@hms/contracts";

const ZONE = "mesh";

/** What a mesh name means in an environment: a service, the zone itself, or nothing. */
export type NameMeaning = { service: mesh.MeshServiceEntry } | "zone" | "nothing";

/** Which services have names, and where. */
export class MeshNames {
  #services = new Map<string, mesh.MeshServiceEntry>();

  /** Replaces all names at once. */
  apply(content: mesh.SnapshotContent): void {
    this.#services = new Map(content.services.map((service) => [`${service.environment}/${service.name}`, service]));
  }

  /** What `receipt-svc.mesh` means in an environment, by its labels in lower case. */
  find(environment: string, labels: readonly string[]): NameMeaning {
    const [name, ...zone] = labels;
    if (zone.length === 0) return "zone";
    const service = zone.length === 1 ? this.#services.get(`${environment}/${name}`) : undefined;
    return service ? { service } : "nothing";
  }

  /** Every service. */
  all(): Iterable<mesh.MeshServiceEntry> {
    return this.#services.values();
  }
}

/** True for names that only the mesh may answer. */
export function isMeshName(labels: readonly string[]): boolean {
  return labels.at(-1) === ZONE;
}
