import type { CallTracer } from "@hms/kernel";
import { type CallTracerOptions, createCallTracer } from "@hms/telemetry/call-tracer";

export type { CallTracerOptions };

/**
 * A `tracer` for `serve`: a server span for each call by the OpenTelemetry API, below its caller's and active in the
 * handler. Nothing in a program that registers no OpenTelemetry SDK. What the caller has decided about sampling is heeded; of
 * new traces the program's own sampler decides, after `ratio` (default 1 here).
 */
export function openTelemetryTracer(options: CallTracerOptions = {}): CallTracer {
  return createCallTracer({ ratio: 1, ...options });
}
