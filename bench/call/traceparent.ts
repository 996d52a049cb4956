const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
let span = 0;

/** The context of a trace that is not sampled, another for every call. */
export function unsampledTraceparent(): string {
  span += 1;
  return `00-${TRACE_ID}-${span.toString(16).padStart(16, "0")}-00`;
}
