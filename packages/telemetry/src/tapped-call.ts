import { create, fromJson } from "@bufbuild/protobuf";
import { type Duration, DurationSchema, timestampNow, ValueSchema } from "@bufbuild/protobuf/wkt";
import { calls, ffiOptions } from "@hms/contracts";
import { principalName, redactedRequest } from "@hms/kernel";
import type { TappableCall } from "./call-filter.ts";
import { methodNames } from "./method-names.ts";
import { parseTraceparent } from "./traceparent.ts";

/** A call as a tap shows it; its request only if it is wanted and the call's audit level allows it. */
export function tappedCall(call: TappableCall, withRequest: boolean): calls.TappedCall {
  const { context, error, durationMs, input, auditLevel } = call;
  const { method, principal, traceparent, way, requestId } = context;
  const { service, name } = methodNames(method);
  const shows = withRequest && input !== undefined && auditLevel === ffiOptions.AuditLevel.REQUEST;
  return create(calls.TappedCallSchema, {
    endedAt: timestampNow(),
    service,
    method: name,
    environment: method.environment ?? "",
    principal: principalName(principal),
    code: error?.code ?? "OK",
    reason: error?.details.reason ?? "",
    duration: durationOf(durationMs),
    transport: way,
    traceId: traceparent === undefined ? "" : (parseTraceparent(traceparent)?.traceId ?? ""),
    requestId,
    ...(shows ? { request: fromJson(ValueSchema, redactedRequest(method.desc.input, input)) } : {}),
  });
}

/** Not by way of milliseconds: a fraction of one has no place in a Duration's whole nanoseconds. */
function durationOf(ms: number): Duration {
  const nanos = Math.round(ms * 1e6);
  return create(DurationSchema, { seconds: BigInt(Math.floor(nanos / 1e9)), nanos: nanos % 1e9 });
}
