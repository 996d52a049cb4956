import type { CallContext, CallObserver, HmsError } from "@hms/kernel";
import type { LogFields, Logger } from "./logger.ts";
import { parseTraceparent } from "./traceparent.ts";

/** The platform's own mistakes; everything else is an answer like any other. */
const OWN_FAULTS = new Set(["INTERNAL", "UNKNOWN", "DATA_LOSS"]);

/** What a log line about a call carries: its request id, method, caller and trace. */
export function callFields(context: CallContext): LogFields {
  const trace = context.traceparent === undefined ? undefined : parseTraceparent(context.traceparent);
  return {
    requestId: context.requestId,
    method: context.method.name,
    principal: context.principal.id,
    ...(trace === undefined ? {} : { traceId: trace.traceId, spanId: trace.spanId }),
  };
}

/** Logs every call that failed by the platform's own fault, with the cause that its caller never sees. */
export function createCallLog(log: Logger): Required<Pick<CallObserver, "failed">> {
  return {
    failed(context: CallContext, error: HmsError) {
      if (!OWN_FAULTS.has(error.code)) return;
      log.error("a call failed", { ...callFields(context), error: error.cause ?? error });
    },
  };
}
