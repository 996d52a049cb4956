import type { DescMethod } from "@bufbuild/protobuf";
import type { CallObserver, StatusCodeName } from "@hms/kernel";
import { type CountedMethod, createCallMetrics } from "@hms/telemetry/call-metrics";

const served = createCallMetrics("served");
const made = createCallMetrics("made");
const madeMethods = new WeakMap<DescMethod, CountedMethod>();

/** Counts a call that this program has made. */
export function countMadeCall(method: DescMethod, code: StatusCodeName, durationMs: number): void {
  let counted = madeMethods.get(method);
  if (counted === undefined) {
    counted = { name: `${method.parent.typeName}/${method.name}` };
    madeMethods.set(method, counted);
  }
  made.finished(counted, code, durationMs);
}

/** Counts the calls that a service has answered, and passes on to its own observer what that wants to hear. */
export function countingObserver(own: CallObserver | undefined): CallObserver {
  if (own === undefined) return served;
  return {
    finished(method, code, durationMs) {
      served.finished(method, code, durationMs);
      own.finished(method, code, durationMs);
    },
    failed: (context, error) => own.failed?.(context, error),
    // Somebody may begin to look, and stop, at any time.
    get ended() {
      return own.ended?.bind(own);
    },
  };
}

/**
 * How often each method was called, with which outcome and how long it took, in Prometheus text format 0.0.4: all calls
 * that this program's services have answered (`hms_ffi_calls_total`, `hms_ffi_call_duration_seconds`, as the platform's
 * own metrics have them) and all that its clients have made (`hms_ffi_client_…`).
 */
export function metricsText(): string {
  return served.expose() + made.expose();
}
