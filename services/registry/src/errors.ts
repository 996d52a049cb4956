import { type FieldViolation, HmsError } from "@hms/kernel";
import type { ServiceKey } from "./service-key.ts";

/** INVALID_ARGUMENT with every problem of a request. */
export function invalid(what: string, violations: FieldViolation[]): HmsError {
  const problems = violations.map(({ field, description }) => `${field}: ${description}`).join(" ");
  return new HmsError("INVALID_ARGUMENT", `${what} cannot be used. ${problems}`, { fieldViolations: violations });
}

/** What is known that is like the thing asked for. */
export interface Likeness {
  /** Versions that the service does have. */
  versions: string[];
  /** Service ids that are spelled like it. */
  serviceIds: string[];
}

function likenessHint({ serviceId, version }: ServiceKey, { versions, serviceIds }: Likeness): string {
  if (versions.length > 0) return `${serviceId} is there in ${versions.join(", ")}, not in ${version}.`;
  if (serviceIds.length > 0) return `Did you mean ${serviceIds.join(" or ")}?`;
  return "Start the service, or list what is there.";
}

/** NOT_FOUND with the nearest names. */
export function serviceUnknown(key: ServiceKey, likeness: Likeness): HmsError {
  const { environment, serviceId, version } = key;
  const { versions, serviceIds } = likeness;
  return new HmsError(
    "NOT_FOUND",
    `No service ${serviceId} ${version} is registered in the environment "${environment}". ${likenessHint(key, likeness)}`,
    {
      reason: "SERVICE_UNKNOWN",
      metadata: { serviceId, version, environment, versions: versions.join(","), nearest: serviceIds.join(",") },
    },
  );
}

/** UNAVAILABLE: the service is known, but the leases of all its instances have run out. */
export function noInstanceAvailable({ environment, serviceId, version }: ServiceKey, lost: number): HmsError {
  return new HmsError(
    "UNAVAILABLE",
    `${serviceId} ${version} has no available instance in the environment "${environment}": ` +
      `the leases of all ${lost} have run out. Start one; it answers as soon as it registers.`,
    { reason: "NO_INSTANCE_AVAILABLE", metadata: { serviceId, version, environment }, retryAfterMs: 1000 },
  );
}

/** UNAVAILABLE: the server goes down; callers come back to the next one. */
export function stopping(): HmsError {
  return new HmsError("UNAVAILABLE", "The registry is stopping. Call again when the server is back.", {
    reason: "STOPPING",
    retryAfterMs: 200,
  });
}
