/** Metrics alone, for programs that must stay lean. */
export { DurationHistogram } from "./duration-histogram.ts";
export { metricFamily, metricSample } from "./prometheus-text.ts";
