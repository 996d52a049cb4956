export { type ConcurrencyOptions, ConcurrencyPolicy } from "./concurrency-policy.ts";
export { CpuPolicy } from "./cpu-policy.ts";
export { type DailyUse, dayOf } from "./replica-budget.ts";
export { ReplicaScaler, type ScalingBounds, type ScalingDecision } from "./replica-scaler.ts";
export type { LoadSample, Recommendation, ScalingPolicy } from "./scaling-policy.ts";
export { UtilizationPolicy } from "./utilization-policy.ts";
