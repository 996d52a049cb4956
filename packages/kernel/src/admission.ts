import { ffiOptions } from "@hms/contracts";
import type { CallContext } from "./call-context.ts";
import { type CallEnd, finishCall, rejectWhenKept } from "./call-outcome.ts";
import { HmsError } from "./hms-error.ts";
import type { CallTrace } from "./ports.ts";

/** A method's handler, whatever its kind. */
export type Handler = (input: unknown, context: CallContext) => unknown;

/** Lets a call in that its caller may make. @throws HmsError if it has ended, cannot be recorded, or its request is wrong */
export function admit({ options, context, input, auditLevel }: CallEnd): void {
  context.throwIfEnded();
  const { method } = context;
  if (method.mutates && auditLevel !== ffiOptions.AuditLevel.NONE && !options.audit.accepts) {
    throw new HmsError(
      "UNAVAILABLE",
      "The audit spool is full, so nothing may change; reads go on. Free disk space in the data directory, and see with hms-sys doctor why it is not emptied.",
      { reason: "AUDIT_SPOOL_FULL" },
    );
  }
  // The messages of a stream are checked as they come.
  if (input !== undefined) options.validator?.validate(method, input);
}

/** Begins the span of a call; undefined if it is not sampled. */
export function beginTrace({ options, context }: CallEnd): CallTrace | undefined {
  context.trace = options.tracer?.begin(context);
  return context.trace;
}

/** A call's error, once it is recorded that and how the call ended. */
export function rejectEnded(end: CallEnd, error: unknown): Promise<never> {
  const failure = finishCall(end, HmsError.from(error));
  return end.auditLevel === ffiOptions.AuditLevel.NONE ? Promise.reject(failure) : rejectWhenKept(end, failure);
}
