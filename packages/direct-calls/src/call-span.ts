import type { DescMethod } from "@bufbuild/protobuf";
import { type CallOptions, type HmsError, StatusCode } from "@hms/kernel";
import { context, type Span, SpanKind, SpanStatusCode, TraceFlags, type Tracer, trace } from "@opentelemetry/api";

const TRACER = "hms.ffi";

/** One call as it is seen by its caller's trace. */
export interface CallSpan {
  /** The call's options with the trace that the callee goes on with. */
  readonly options: CallOptions | undefined;
  end(error: HmsError | undefined): void;
}

const nothing = () => {};

function untraced(options: CallOptions | undefined): CallSpan {
  return { options, end: nothing };
}

function startSpan(tracer: Tracer, { parent, name }: DescMethod): Span {
  const attributes = { "rpc.system": "hms_ffi", "rpc.service": parent.typeName, "rpc.method": name };
  return tracer.startSpan(`${parent.typeName}/${name}`, { kind: SpanKind.CLIENT, attributes });
}

function withParent(
  options: CallOptions | undefined,
  { traceId, spanId, traceFlags }: ReturnType<Span["spanContext"]>,
) {
  const flags = (traceFlags & TraceFlags.SAMPLED).toString(16).padStart(2, "0");
  return { ...options, metadata: { ...options?.metadata, traceparent: `00-${traceId}-${spanId}-${flags}` } };
}

/**
 * Lets a call belong to the span that is active where it is made, by the OpenTelemetry API: a sampled one gets a client span
 * below it, of another the callee hears. Nothing if the program traces nothing, or names a traceparent itself.
 */
export function beginCallSpan(method: DescMethod, options: CallOptions | undefined): CallSpan {
  const active = trace.getSpan(context.active())?.spanContext();
  if (active === undefined || !trace.isSpanContextValid(active)) return untraced(options);
  if (options?.metadata?.traceparent !== undefined) return untraced(options);
  if ((active.traceFlags & TraceFlags.SAMPLED) === 0) return untraced(withParent(options, active));
  const span = startSpan(trace.getTracer(TRACER), method);
  return {
    options: withParent(options, span.spanContext()),
    end(error) {
      span.setAttribute("rpc.grpc.status_code", error === undefined ? 0 : StatusCode[error.code]);
      if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
      span.end();
    },
  };
}
