export { callFields, createCallLog } from "./call-log.ts";
export { type CallMetrics, createCallMetrics } from "./call-metrics.ts";
export { type CallServiceOptions, createCallService } from "./call-service.ts";
export { type CallTracerOptions, createCallTracer } from "./call-tracer.ts";
export { createLogger, type LogFields, type Logger } from "./logger.ts";
export { mergeMetrics, type PartMetrics } from "./merge-metrics.ts";
export { startTracing, type TracingOptions } from "./start-tracing.ts";
