import { type FieldViolation, HmsError } from "@hms/kernel";
import type { ToldDifference } from "./contract-comparison.ts";
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
  return "Start the service, or list what is there: hms-sys ffi list.";
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

const MOST_TOLD = 5;
const MOST_VIOLATIONS = 200;

/** FAILED_PRECONDITION with every way in which a contract breaks who relies on the stored one. */
export function contractBreaks(key: ServiceKey, differences: readonly ToldDifference[]): HmsError {
  const { serviceId, version, environment } = key;
  const ways = differences.length === 1 ? "one way" : `${differences.length} ways`;
  const told = differences.slice(0, MOST_TOLD).map(({ subject, description }) => `${subject}: ${description}`);
  const more = differences.length > MOST_TOLD ? [`… and ${differences.length - MOST_TOLD} more.`] : [];
  const message =
    `The contract of ${serviceId} ${version} in the environment "${environment}" would break its callers in ${ways}, ` +
    `so it was not registered. Change it compatibly, or register it as the next version. ${[...told, ...more].join(" ")}`;
  const violations = differences.slice(0, MOST_VIOLATIONS);
  return new HmsError("FAILED_PRECONDITION", message, {
    reason: "CONTRACT_BREAKS",
    metadata: { serviceId, version, environment },
    fieldViolations: violations.map(({ subject, description }) => ({ field: subject, description })),
  });
}

/** NOT_FOUND: the service version is there, but nobody has said what it promises. */
export function contractUnknown({ serviceId, version, environment }: ServiceKey): HmsError {
  const hint = "Register it with file_descriptor_set or method_schemas.";
  const message = `${serviceId} ${version} has no contract in the environment "${environment}". ${hint}`;
  return new HmsError("NOT_FOUND", message, {
    reason: "CONTRACT_UNKNOWN",
    metadata: { serviceId, version, environment },
  });
}

/** PERMISSION_DENIED: an instance belongs to who registered it. */
export function registeredByOther({ serviceId, version }: ServiceKey, instanceId: string): HmsError {
  const message =
    `The instance ${instanceId} of ${serviceId} ${version} was registered by somebody else, who alone may renew, replace ` +
    "or remove it. Use another instance id, or let the operator unregister it.";
  return new HmsError("PERMISSION_DENIED", message, { reason: "REGISTERED_BY_OTHER" });
}

/** UNIMPLEMENTED: this server was not given a way to stock gRPC servers. */
export function noForeignServers(): HmsError {
  const hint = "Register its contract with Register, or ask a server that does.";
  return new HmsError("UNIMPLEMENTED", `This server registers no stock gRPC servers. ${hint}`);
}

/** UNAVAILABLE: the server goes down; callers come back to the next one. */
export function stopping(): HmsError {
  return new HmsError("UNAVAILABLE", "The registry is stopping. Call again when the server is back.", {
    reason: "STOPPING",
    retryAfterMs: 200,
  });
}

/** UNAVAILABLE: what is stored is not known, because the database does not answer. */
export function notReadYet(): HmsError {
  const message =
    "The registry cannot read what is stored, because its database does not answer; nothing was changed. It goes on by itself once that is back; see hms-sys doctor.";
  return new HmsError("UNAVAILABLE", message, { reason: "DATABASE_DOWN" });
}
