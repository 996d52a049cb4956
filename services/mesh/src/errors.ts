import { type FieldViolation, HmsError } from "@hms/kernel";

/** INVALID_ARGUMENT with every problem of a request. */
export function invalid(what: string, violations: FieldViolation[]): HmsError {
  const problems = violations.map(({ field, description }) => `${field}: ${description}`).join(" ");
  return new HmsError("INVALID_ARGUMENT", `${what} cannot be used. ${problems}`, { fieldViolations: violations });
}

/** ALREADY_EXISTS: another service of the environment answers on this route. */
export function routeConflict(route: string, holder: { environment: string; name: string }): HmsError {
  return new HmsError(
    "ALREADY_EXISTS",
    `The route ${route} belongs to the service "${holder.name}" in the environment "${holder.environment}". ` +
      "Choose another path or other methods, or take the route from that service first.",
    { reason: "ROUTE_CONFLICT", metadata: { service: holder.name, environment: holder.environment, route } },
  );
}

/** ALREADY_EXISTS: another service has an endpoint of this id; counts of running requests would mix. */
export function endpointConflict(endpointId: string, holder: { environment: string; name: string }): HmsError {
  return new HmsError(
    "ALREADY_EXISTS",
    `The endpoint id "${endpointId}" belongs to the service "${holder.name}" in the environment ` +
      `"${holder.environment}". Give each replica an id of its own.`,
    { reason: "ENDPOINT_CONFLICT", metadata: { service: holder.name, environment: holder.environment, endpointId } },
  );
}

/** RESOURCE_EXHAUSTED: every service address has been given. */
export function addressesExhausted(prefix: string): HmsError {
  return new HmsError(
    "RESOURCE_EXHAUSTED",
    `Every service address from ${prefix}.1.1 to ${prefix}.255.254 has been given, and an address is never given ` +
      "twice. Deploy further services in another instance (--instance NAME).",
    { reason: "ADDRESSES_EXHAUSTED" },
  );
}

/** NOT_FOUND: nobody has deployed anything into it. */
export function noSuchEnvironment(name: string): HmsError {
  const message = `There is no environment "${name}" yet; the first deploy into it makes it.`;
  return new HmsError("NOT_FOUND", message, { reason: "ENVIRONMENT_NOT_FOUND" });
}

/** RESOURCE_EXHAUSTED: every name server address has been given. */
export function environmentsExhausted(): HmsError {
  return new HmsError(
    "RESOURCE_EXHAUSTED",
    "This installation has all the environments it can have at once. Use one of them, end a preview " +
      "(hms-sys previews end NAME), or use another instance (--instance NAME).",
    { reason: "ENVIRONMENTS_EXHAUSTED" },
  );
}

/** FAILED_PRECONDITION: an environment that has services, or that every installation has, is not taken away. */
export function environmentStays(environment: string, services: number): HmsError {
  const why = services > 0 ? `has ${services} ${services === 1 ? "service" : "services"}` : "is there always";
  const message = `The environment "${environment}" ${why}, and so it cannot be removed. Remove its services first.`;
  return new HmsError("FAILED_PRECONDITION", services > 0 ? message : `The environment "${environment}" ${why}.`, {
    reason: "ENVIRONMENT_STAYS",
  });
}

/** OUT_OF_RANGE: nobody can serve a version that does not exist. */
export function unknownVersion(version: bigint, newest: bigint): HmsError {
  return new HmsError(
    "OUT_OF_RANGE",
    `Snapshot ${version} does not exist; the newest is ${newest}. Wait for a version that SetService or RemoveService answered with.`,
    { reason: "UNKNOWN_VERSION" },
  );
}

/** FAILED_PRECONDITION: an endpoint that gets requests never drains. */
export function stillActive(endpointIds: string[]): HmsError {
  return new HmsError(
    "FAILED_PRECONDITION",
    `${endpointIds.join(", ")} still get new requests and so never drain. Set them to draining, or take them out, first.`,
    { reason: "ENDPOINT_ACTIVE", metadata: { endpointIds: endpointIds.join(",") } },
  );
}

/** DEADLINE_EXCEEDED: what still runs is not known, because a data plane has not said. */
export function nodesBehind(nodeIds: string[]): HmsError {
  return new HmsError(
    "DEADLINE_EXCEEDED",
    `The data planes ${nodeIds.join(", ")} have not said what still runs since the endpoints drain. ` +
      "Wait again, or see their log.",
    { reason: "NODES_BEHIND", metadata: { nodeIds: nodeIds.join(",") } },
  );
}

/** UNAVAILABLE: the server goes down; callers come back to the next one. */
export function stopping(): HmsError {
  return new HmsError("UNAVAILABLE", "The mesh service is stopping. Call again when the server is back.", {
    reason: "STOPPING",
    retryAfterMs: 200,
  });
}

/** PERMISSION_DENIED: a policy keeps a part of the snapshot from the caller. */
export function notForYou(): HmsError {
  const message =
    "A policy hides services of the mesh from you, and a snapshot is whole or nothing. Ask for GetSnapshot, which leaves " +
    "them out.";
  return new HmsError("PERMISSION_DENIED", message, { reason: "SNAPSHOT_HIDDEN" });
}
