import { ConcurrencyPolicy } from "../concurrency-policy.ts";
import { CpuPolicy } from "../cpu-policy.ts";
import { ReplicaScaler } from "../replica-scaler.ts";
import type { ScalingPolicy } from "../scaling-policy.ts";
import { UtilizationPolicy } from "../utilization-policy.ts";
import { type LoadTrace, loadTraces } from "./load-traces.ts";
import { type ScalingOutcome, type SimulationOptions, simulateScaling } from "./simulate-scaling.ts";

/** A policy as it is compared. */
interface Contestant {
  readonly name: string;
  readonly policy: () => ScalingPolicy;
  readonly stabilizationMs: number;
  /** Its processor time is an average of so many seconds. */
  readonly cpuSeconds: number;
}

const UTILIZATION = 0.7;
/** Requests at once of a replica that is full: 100 in a second, a tenth of a second each. */
const FULL = 10;

const shared: Omit<SimulationOptions, "cpuSeconds"> = {
  abilities: { requestsPerSecond: 100, serviceSeconds: 0.1, startSeconds: 5, patienceSeconds: 10 },
  min: 2,
  max: 10,
  utilization: UTILIZATION,
};

/** What is compared: all aim at 70 % of what a replica can do. */
const contestants: readonly Contestant[] = [
  {
    name: "concurrency",
    policy: () => new ConcurrencyPolicy({ concurrency: FULL, utilization: UTILIZATION }),
    stabilizationMs: 120_000,
    cpuSeconds: 5,
  },
  { name: "CPU 70/30", policy: () => new CpuPolicy(), stabilizationMs: 0, cpuSeconds: 5 },
  // Kubernetes' metrics server looks each 15 s.
  { name: "HPA", policy: () => new UtilizationPolicy(UTILIZATION), stabilizationMs: 0, cpuSeconds: 15 },
];

/** As many replicas as each second's load needs, by what one of them can do. */
export function neededReplicas({ requests }: LoadTrace): number[] {
  const { min, max, abilities } = shared;
  const each = abilities.requestsPerSecond * UTILIZATION;
  return requests.map((load) => Math.min(max, Math.max(min, Math.ceil(load / each))));
}

/** One load under every policy. */
export interface Comparison {
  readonly trace: LoadTrace;
  readonly outcomes: readonly { readonly name: string; readonly outcome: ScalingOutcome }[];
}

/** Every policy under every load; the same numbers each time. */
export function comparePolicies(traces: readonly LoadTrace[] = loadTraces): Comparison[] {
  return traces.map((trace) => ({ trace, outcomes: contestants.map((each) => contest(trace, each)) }));
}

function contest(trace: LoadTrace, { name, policy, stabilizationMs, cpuSeconds }: Contestant) {
  const { min, max } = shared;
  const scaler = new ReplicaScaler(policy(), { min, max, stabilizationMs, idleMs: 0 });
  return { name, outcome: simulateScaling(trace, scaler, { ...shared, cpuSeconds }) };
}
