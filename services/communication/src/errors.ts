import { HmsError } from "@hms/kernel";

/** PERMISSION_DENIED: who lives in one environment has no part in a log of all. */
export function livesInOneEnvironment(environment: string): HmsError {
  const message = `An export holds the events of all environments, and you live in "${environment}". Search there instead: hms-sys audit search.`;
  return new HmsError("PERMISSION_DENIED", message, { reason: "OTHER_ENVIRONMENT" });
}

/** INVALID_ARGUMENT: not a token of an earlier page. */
export function pageTokenUnknown(): HmsError {
  const description = "is not a token of an earlier page; leave it out to begin anew.";
  return new HmsError("INVALID_ARGUMENT", `page_token ${description}`, {
    fieldViolations: [{ field: "page_token", description }],
  });
}

/** FAILED_PRECONDITION: a spool's name that the log has for itself. */
export function shardReserved(shard: string): HmsError {
  return new HmsError(
    "FAILED_PRECONDITION",
    `"${shard}" is the chain of what the log says of itself; no spool has that name.`,
  );
}
