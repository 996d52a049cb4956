import { ffiOptions } from "@hms/contracts";
import type { CallContext } from "./call-context.ts";
import { type ErrorDetails, HmsError } from "./hms-error.ts";
import type { KernelOptions } from "./kernel-options.ts";
import { environmentOf } from "./method-entry.ts";
import type { AuditEvent, DecisionGround, PolicyDecision, StepUp } from "./ports.ts";
import { redactedRequest } from "./redacted-request.ts";
import { refusedInputReason } from "./refused-input.ts";
import type { StatusCodeName } from "./status-code.ts";

type PolicyDenial = Extract<PolicyDecision, { allowed: false }>;

/** What is known of a call when it ends. */
export interface CallEnd {
  options: KernelOptions;
  context: CallContext;
  input: unknown;
  resource: string;
  /** `performance.now()` at its arrival. */
  started: number;
  /** What it leaves in the audit log. */
  auditLevel: ffiOptions.AuditLevel;
  /** By what it was let in, or was not; undefined: nobody has decided yet. */
  decision?: DecisionGround | undefined;
}

function record(end: CallEnd, outcome: AuditEvent["outcome"], reason: string): void {
  const { method, principal, requestId, way, source, traceparent } = end.context;
  const withRequest = end.auditLevel === ffiOptions.AuditLevel.REQUEST && end.input !== undefined;
  end.options.audit.record({
    time: new Date(),
    principal,
    method: method.name,
    permission: method.rule.permission,
    resource: end.resource,
    ...(method.environment === undefined ? {} : { code: "services.call" }),
    outcome,
    reason,
    requestId,
    environment: method.environment ?? (end.input === undefined ? undefined : environmentOf(method, end.input)),
    way,
    source,
    traceparent,
    decision: end.decision,
    durationMs: performance.now() - end.started,
    ...(withRequest ? { request: redactedRequest(method.desc.input, end.input) } : {}),
  });
}

/** Tells observers how a call ended. */
function observe(end: CallEnd, code: StatusCodeName, error: HmsError | undefined): void {
  const { observer } = end.options;
  if (observer === undefined) return;
  const { context, input, auditLevel } = end;
  const durationMs = performance.now() - end.started;
  observer.finished(context.method, code, durationMs);
  observer.ended?.({ context, error, durationMs, input, auditLevel });
}

/** What an error says of what would help: the reason, and the age in seconds, as RFC 9470 names it. */
function stepUpDetails(stepUp: StepUp | undefined): ErrorDetails {
  if (stepUp === undefined) return {};
  const { maxAgeS } = stepUp;
  return { reason: "STEP_UP_REQUIRED", ...(maxAgeS === undefined ? {} : { metadata: { max_age: String(maxAgeS) } }) };
}

/** Records a denial and makes the error for it; denials are always audited. */
export function refuse(end: CallEnd, { reason, stepUp }: Pick<PolicyDenial, "reason" | "stepUp">): HmsError {
  const { method, principal } = end.context;
  record(end, "denied", reason);
  const error =
    principal.kind === "anonymous"
      ? new HmsError("UNAUTHENTICATED", `${method.name} needs a known caller: ${reason}.`)
      : new HmsError(
          "PERMISSION_DENIED",
          `${principal.id} may not call ${method.name} (${method.rule.permission}): ${reason}.`,
          stepUpDetails(stepUp),
        );
  observe(end, "PERMISSION_DENIED", error);
  return error;
}

/**
 * Records the denial of credentials that nobody has, and hands the error on. Who is turned away because too many such
 * have come leaves no record: that is what it is for.
 */
export function refuseUnknown(end: CallEnd, error: HmsError): HmsError {
  if (error.details.reason !== "TOO_MANY_DENIALS") record(end, "denied", error.message);
  observe(end, error.code, error);
  return error;
}

/** Records that a request was refused for what is in it; of one caller not too often. */
export function recordRefusedInput(end: CallEnd, message: string): void {
  const { options, context } = end;
  const reason = refusedInputReason(options.audit, context.principal, message);
  if (reason !== undefined) record(end, "INVALID_ARGUMENT", reason);
}

/** Tells audit and observer how a call ended, and hands its error on. */
export function finishCall<E extends HmsError | undefined>(end: CallEnd, error: E): E {
  const { observer, tracer } = end.options;
  const code = error === undefined ? "OK" : error.code;
  const isRenewal = error === undefined && end.context.hasChangedNothing;
  if (end.auditLevel !== ffiOptions.AuditLevel.NONE) {
    if (!isRenewal) record(end, code, error?.message ?? "");
  } else if (code === "INVALID_ARGUMENT") recordRefusedInput(end, error?.message ?? "");
  observe(end, code, error);
  if (error !== undefined) {
    observer?.failed?.(end.context, error);
    if (end.context.trace === undefined) tracer?.failed(end.context, error, end.started);
  }
  end.context.trace?.end(error);
  return error;
}

/**
 * Resolves when what was recorded of a call is kept; undefined if nothing has to be waited for.
 * @throws HmsError UNAVAILABLE if a change was made and its event cannot be kept
 */
export function whenKept(end: CallEnd): Promise<void> | undefined {
  if (end.auditLevel === ffiOptions.AuditLevel.NONE || end.context.hasChangedNothing) return undefined;
  return end.options.audit.kept?.()?.catch((cause: unknown) => {
    if (!end.context.method.mutates) return;
    throw new HmsError(
      "UNAVAILABLE",
      "The call was carried out, but its audit event could not be written. Free disk space in the data directory, and look before you repeat the call.",
      { reason: "AUDIT_NOT_KEPT", cause },
    );
  });
}

/** Rejects with the error of a call, once what was recorded of it is kept or cannot be. */
export function rejectWhenKept({ options }: CallEnd, error: HmsError): Promise<never> {
  const kept = options.audit.kept?.();
  if (kept === undefined) return Promise.reject(error);
  const reject = () => Promise.reject(error);
  return kept.then(reject, reject);
}
