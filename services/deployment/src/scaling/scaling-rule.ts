import type { Manifest } from "@hms/manifest";
import { ConcurrencyPolicy, CpuPolicy, type ScalingBounds, type ScalingPolicy } from "@hms/scaling";

type Scaling = Manifest["scaling"];

/** How a service's load decides about its replicas. */
export interface ScalingRule extends ScalingBounds {
  by: "concurrency" | "cpu";
  /** Requests at once that one replica takes. */
  concurrency: number;
}

const STABILIZATION_MS = { concurrency: 120_000, cpu: 0 };

/** What a manifest asks for; undefined: its load decides nothing, as in those that older versions have stored. */
export function scalingRule(stored: Pick<Scaling, "min" | "max"> & Partial<Scaling>): ScalingRule | undefined {
  const { min, max, by = "none", concurrency = 50, idleMs = 300_000, maxReplicaHours } = stored;
  if (by === "none" || max <= min) return undefined;
  const stabilizationMs = stored.stabilizationMs ?? STABILIZATION_MS[by];
  return { min, max, by, concurrency, stabilizationMs, idleMs, maxReplicaHours };
}

/** The policy of a rule, without a memory yet. */
export function policyOf({ by, concurrency }: ScalingRule): ScalingPolicy {
  return by === "cpu" ? new CpuPolicy() : new ConcurrencyPolicy({ concurrency });
}
