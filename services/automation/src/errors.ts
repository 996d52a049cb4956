import { HmsError, type Principal, spokenName } from "@hms/kernel";

/** PERMISSION_DENIED: on whose behalf the run works is nobody any more. */
export function principalGone(principal: Pick<Principal, "kind" | "id">): HmsError {
  const message = `${spokenName(principal as Principal)} started this run, and may not come in any more. Retry the run as somebody who may.`;
  return new HmsError("PERMISSION_DENIED", message, { reason: "PRINCIPAL_GONE" });
}

/** PERMISSION_DENIED: whoever started the run may not start runs any more. */
export function mayNotRun(principal: Principal, reason: string): HmsError {
  const message = `${spokenName(principal)} started this run, and may not run anything here any more: ${reason}.`;
  return new HmsError("PERMISSION_DENIED", message, { reason: "RUN_NOT_ALLOWED" });
}

/** PERMISSION_DENIED: whoever starts a run may not cancel one that has the same concurrency key. */
export function mayNotCancel(runId: string): HmsError {
  const message = `Starting this would cancel the run ${runId}, which has the same concurrency key, and you may not do that (runs:control). Nothing was started. Let it wait (ON_LIMIT_QUEUE), or ask somebody who may.`;
  return new HmsError("PERMISSION_DENIED", message, { reason: "CANCEL_NOT_ALLOWED" });
}

/** INVALID_ARGUMENT: what a step was given or gave would be read by whoever may see its run. */
export function tellsSecret(method: string): HmsError {
  const message = `${method} takes or answers a secret, and runs show what their steps were given and gave. Call it outside of runs.`;
  return new HmsError("INVALID_ARGUMENT", message, { reason: "SECRET_IN_RUN" });
}

/** UNAVAILABLE: nobody offers the method now, so that a step may be tried again. */
export function methodAway(service: string, method: string, environment: string): HmsError {
  const message = `Nobody offers ${service}/${method} in the environment ${environment} now. See what there is with hms-sys ffi list; give the step "retry" if it may come later.`;
  return new HmsError("UNAVAILABLE", message, { reason: "METHOD_UNKNOWN" });
}

/** INVALID_ARGUMENT: one field of a request. */
export function invalidField(field: string, description: string): HmsError {
  return new HmsError("INVALID_ARGUMENT", `${field}: ${description}`, { fieldViolations: [{ field, description }] });
}

/** RESOURCE_EXHAUSTED: so many calls of one principal wait for steps and no more. */
export function tooManyWaiting(principal: string, most: number): HmsError {
  const message = `${most} calls of ${principal} wait for steps already. Claim several steps with one call (max_steps).`;
  return new HmsError("RESOURCE_EXHAUSTED", message, { reason: "TOO_MANY_WAITING" });
}

/** UNAVAILABLE: the service stops. */
export function stopping(): HmsError {
  return new HmsError("UNAVAILABLE", "The automation service is stopping; try again when it is back.", {
    reason: "SERVER_STOPPING",
  });
}
