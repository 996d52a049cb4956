import { RecommendationWindow } from "./recommendation-window.ts";
import type { LoadSample, Recommendation, ScalingPolicy } from "./scaling-policy.ts";

const EVERY_MS = 15_000;
const TOLERANCE = 0.1;
const STABILIZATION_MS = 300_000;
const MORE_AT_ONCE = 4;

/**
 * Kubernetes' horizontal pod autoscaler with its defaults, for comparison: each 15 s as many as bring the processor time to
 * the target, with 10 % tolerance, at most 4 more or twice as many at a time, and fewer only after 300 s
 * (pkg/controller/podautoscaler/replica_calculator.go, apis/autoscaling/v2/defaults.go). Replicas that start count as using
 * nothing where it would grow.
 */
export class UtilizationPolicy implements ScalingPolicy {
  readonly #target: number;
  readonly #window = new RecommendationWindow(STABILIZATION_MS);
  #decidedAt: number | undefined;
  #wanted = 0;

  /** Takes the share of the processor time that is aimed at. */
  constructor(target: number) {
    this.#target = target;
  }

  recommend(sample: LoadSample): Recommendation {
    const { atMs, replicas, cpu } = sample;
    if (this.#decidedAt !== undefined && atMs - this.#decidedAt < EVERY_MS) return this.#said(this.#wanted, cpu);
    this.#decidedAt = atMs;
    const recommended = this.#calculate(sample);
    const stabilized = this.#window.highest(atMs, recommended);
    // Stabilization holds the way down only.
    const wanted = recommended > replicas ? recommended : Math.min(replicas, stabilized);
    this.#wanted = Math.min(wanted, Math.max(replicas + MORE_AT_ONCE, replicas * 2));
    return this.#said(this.#wanted, cpu);
  }

  #calculate({ cpu, ready, replicas }: LoadSample): number {
    if (cpu === undefined || ready === 0) return replicas;
    const ratio = cpu / this.#target;
    if (ratio > 1 && ready < replicas) {
      const damped = (cpu * ready) / (replicas * this.#target);
      return damped <= 1 + TOLERANCE ? replicas : Math.ceil(damped * replicas);
    }
    return Math.abs(ratio - 1) <= TOLERANCE ? replicas : Math.ceil(ratio * ready);
  }

  #said(replicas: number, cpu: number | undefined): Recommendation {
    return { replicas, why: `${replicas} bring the processor time to the target`, figures: { cpu: cpu ?? 0 } };
  }
}
