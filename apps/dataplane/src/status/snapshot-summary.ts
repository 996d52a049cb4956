import { mesh } from "@hms/contracts";

/** What is known of a service beside its entry. */
export interface ServiceFacts {
  isOpen: (service: mesh.MeshServiceEntry) => boolean;
  inFlight: (endpointId: string) => number;
}

/** A snapshot as people read it, with what runs on each endpoint now. */
export function snapshotSummary(
  snapshot: mesh.Snapshot | undefined,
  content: mesh.SnapshotContent,
  facts: ServiceFacts,
) {
  return {
    version: String(snapshot?.version ?? 0),
    sha256: Buffer.from(snapshot?.sha256 ?? []).toString("hex"),
    environments: content.environments.map(({ name, dnsAddress }) => ({ name, dnsAddress })),
    services: content.services.map((service) => ({
      environment: service.environment,
      name: service.name,
      vip: service.vip,
      ports: service.ports,
      open: facts.isOpen(service),
      routes: service.routes.map(({ path, methods }) => ({ path, methods })),
      endpoints: service.endpoints.map(({ endpointId, host, port, state, weight, revision }) => ({
        id: endpointId,
        address: `${host}:${port}`,
        state: state === mesh.EndpointState.DRAINING ? "draining" : "active",
        weight: weight ?? 1000,
        revision: String(revision),
        inFlight: facts.inFlight(endpointId),
      })),
    })),
  };
}
