/** What is read from the counts of data planes, for programs that do not proxy. */
export { LATENCY_BUCKETS, latencyBoundMs, latencyQuantileMs } from "./latency-buckets.ts";
