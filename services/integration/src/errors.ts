import { HmsError, type Principal, spokenName } from "@hms/kernel";

/** NOT_FOUND: there is none, or it is somebody else's. */
export function operationUnknown(operationId: string): HmsError {
  const message = `There is no operation "${operationId}" of yours. Ended ones are forgotten after the time given when they were started.`;
  return new HmsError("NOT_FOUND", message, { reason: "OPERATION_UNKNOWN" });
}

/** NOT_FOUND: nobody offers the method. */
export function methodUnknown(service: string, method: string, environment: string): HmsError {
  const message = `Nobody offers ${service}/${method} in the environment "${environment}". Look at hms-sys ffi list.`;
  return new HmsError("NOT_FOUND", message, { reason: "METHOD_UNKNOWN" });
}

/** PERMISSION_DENIED: the events of other environments are not for a principal that lives in one. */
export function otherEnvironment(principal: Principal, environment: string): HmsError {
  const own = principal.environment ?? "";
  const message = `${spokenName(principal)} lives in the environment "${own}" and has no part in "${environment}". Leave the environment out.`;
  return new HmsError("PERMISSION_DENIED", message, { reason: "OTHER_ENVIRONMENT" });
}

/** RESOURCE_EXHAUSTED: so many operations of one principal are kept and no more. */
export function tooManyUnfinished(principal: string, most: number): HmsError {
  const message = `${most} operations of ${principal} have not ended. Wait for some of them, or cancel what is not needed.`;
  return new HmsError("RESOURCE_EXHAUSTED", message, { reason: "TOO_MANY_OPERATIONS" });
}

/** RESOURCE_EXHAUSTED: a principal may have so many subscriptions open and no more. */
export function tooManySubscriptions(principal: string, most: number): HmsError {
  const message = `${principal} has ${most} subscriptions open. End some, or use patterns that take several topics.`;
  return new HmsError("RESOURCE_EXHAUSTED", message, { reason: "TOO_MANY_SUBSCRIPTIONS" });
}

/** PERMISSION_DENIED: on whose behalf it would be is nobody any more. */
export function principalGone(principal: Principal): HmsError {
  const message = `${spokenName(principal)} started this, and its key has gone since. Start it again with one that is good.`;
  return new HmsError("PERMISSION_DENIED", message, { reason: "PRINCIPAL_GONE" });
}

/** INVALID_ARGUMENT: operations are for methods with one request and one answer. */
export function notUnary(name: string): HmsError {
  return new HmsError("INVALID_ARGUMENT", `${name} is a stream; an operation takes a method with one answer.`, {
    fieldViolations: [{ field: "method", description: "must be unary." }],
  });
}

/** ALREADY_EXISTS: the idempotency key stands for another request. */
export function keyTaken(key: string, operationId: string): HmsError {
  const message = `The idempotency key "${key}" was used for another request (operation ${operationId}). Choose a new key for a new request.`;
  return new HmsError("ALREADY_EXISTS", message, { reason: "IDEMPOTENCY_KEY_REUSED", metadata: { operationId } });
}

/** UNAVAILABLE: a call was under way when the platform went, and may not be made twice. */
export function interrupted(): HmsError {
  const message =
    "The platform stopped while the call was under way; it may or may not have been served. Its method may not be repeated, so look before you start it again.";
  return new HmsError("UNAVAILABLE", message, { reason: "INTERRUPTED" });
}

/** DEADLINE_EXCEEDED: the operation's own time is over. */
export function outOfTime(): HmsError {
  return new HmsError("DEADLINE_EXCEEDED", "The operation's time was over before it had ended.");
}

/** CANCELLED: somebody asked for it. */
export function cancelledOnRequest(): HmsError {
  return new HmsError("CANCELLED", "The operation was cancelled on request.");
}

/** UNAVAILABLE: the service stops. */
export function stopping(): HmsError {
  return new HmsError("UNAVAILABLE", "The integration service is stopping; try again when it is back.", {
    reason: "SERVER_STOPPING",
  });
}
