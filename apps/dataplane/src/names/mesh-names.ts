import type { mesh } from "@hms/contracts";

const SUFFIX = ".mesh";

/** Which service a name means in an environment. */
export class MeshNames {
  #services = new Map<string, mesh.MeshServiceEntry>();

  /** Replaces all names at once. */
  apply(content: mesh.SnapshotContent): void {
    this.#services = new Map(content.services.map((service) => [`${service.environment}/${service.name}`, service]));
  }

  /** True for names that only the mesh may answer. */
  owns(name: string): boolean {
    const plain = plainName(name);
    return plain === "mesh" || plain.endsWith(SUFFIX);
  }

  /** The service that `receipt-svc.mesh` means in an environment; upper and lower case are the same. */
  find(environment: string, name: string): mesh.MeshServiceEntry | undefined {
    const plain = plainName(name);
    if (!plain.endsWith(SUFFIX)) return undefined;
    return this.#services.get(`${environment}/${plain.slice(0, -SUFFIX.length)}`);
  }

  /** Every service. */
  all(): Iterable<mesh.MeshServiceEntry> {
    return this.#services.values();
  }
}

function plainName(name: string): string {
  return name.toLowerCase().replace(/\.$/, "");
}
