import { type CallContext, type CallTrace, type CallTracer, type HmsError, StatusCode } from "@hms/kernel";
import {
  type Attributes,
  type Context,
  context as currentContext,
  INVALID_TRACEID,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { parseTraceparent } from "./traceparent.ts";

/** How calls are sampled. */
export interface CallTracerOptions {
  /** The tracer that makes the spans; default: the one registered with the OpenTelemetry API. */
  tracer?: Tracer;
  /** The part of new traces that is kept, 0 to 1; default 0.05. What the caller has decided is heeded. */
  ratio?: number;
}

const DEFAULT_RATIO = 0.05;

/** Failures that are always worth a span, because somebody will ask. */
const ALWAYS = new Set(["INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED"]);

/** Where the flags stand in a traceparent of version 00. */
const SAMPLED_AT = 54;
const LENGTH = 55;

function attributesOf({ method, principal, requestId }: CallContext): Attributes {
  const [service = "", name = ""] = method.name.split("/");
  return {
    "rpc.system": "hms_ffi",
    "rpc.service": service,
    "rpc.method": name,
    "hms.principal": `${principal.kind}:${principal.id}`,
    "hms.request_id": requestId,
    ...(method.environment === undefined ? {} : { "hms.environment": method.environment }),
  };
}

const SERVER = { kind: SpanKind.SERVER };

function parentOf({ metadata }: CallContext): Context {
  const parent = metadata.traceparent === undefined ? undefined : parseTraceparent(metadata.traceparent);
  if (parent === undefined) return ROOT_CONTEXT;
  const { traceId, spanId } = parent;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });
}

function close(span: Span, error: HmsError | undefined): void {
  span.setAttribute("rpc.grpc.status_code", error === undefined ? 0 : StatusCode[error.code]);
  if (error !== undefined) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
    if (error.cause instanceof Error) span.recordException(error.cause);
  }
  span.end();
}

function open(tracer: Tracer, call: CallContext, startTime?: Date): { span: Span; inner: Context } {
  const parent = parentOf(call);
  const options = startTime ? { kind: SpanKind.SERVER, startTime } : SERVER;
  const span = tracer.startSpan(call.method.name, options, parent);
  // A span that nobody keeps must cost next to nothing; samplers go by its name.
  if (span.isRecording()) span.setAttributes(attributesOf(call));
  return { span, inner: trace.setSpan(parent, span) };
}

class SpanTrace implements CallTrace {
  readonly #span: Span;
  readonly #inner: Context;

  constructor(span: Span, inner: Context) {
    this.#span = span;
    this.#inner = inner;
  }

  get traceparent(): string {
    const { traceId, spanId, traceFlags } = this.#span.spanContext();
    return `00-${traceId}-${spanId}-0${traceFlags & TraceFlags.SAMPLED}`;
  }

  run<T>(work: () => T): T {
    return currentContext.with(this.#inner, work);
  }

  end(error: HmsError | undefined): void {
    if (this.#span.isRecording()) close(this.#span, error);
    else this.#span.end();
  }
}

/**
 * Makes one span for each sampled call, by the OpenTelemetry API: the caller's decision holds, new traces are kept by
 * ratio, and calls that fail badly are kept always. A call that is not sampled pays for one look at its metadata.
 */
export function createCallTracer(options: CallTracerOptions = {}): CallTracer {
  const { tracer = trace.getTracer("hms.ffi"), ratio = DEFAULT_RATIO } = options;
  const sampled = ({ metadata: { traceparent } }: CallContext): boolean => {
    if (traceparent === undefined) return ratio > 0 && Math.random() < ratio;
    if (traceparent.length === LENGTH) return (traceparent.charCodeAt(SAMPLED_AT) & 1) === 1;
    return parseTraceparent(traceparent)?.sampled ?? false;
  };
  return {
    begin(call): CallTrace | undefined {
      if (!sampled(call)) return undefined;
      const { span, inner } = open(tracer, call);
      const made = span.spanContext();
      // Nobody makes spans in this program.
      return made.traceId === INVALID_TRACEID ? undefined : new SpanTrace(span, inner);
    },
    failed(call, error, startedAt) {
      if (!ALWAYS.has(error.code)) return;
      const startTime = new Date(Date.now() - (performance.now() - startedAt));
      close(open(tracer, call, startTime).span, error);
    },
  };
}
