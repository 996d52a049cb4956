import { RecommendationWindow } from "./recommendation-window.ts";
import { type DailyUse, ReplicaBudget } from "./replica-budget.ts";
import type { LoadSample, Recommendation, ScalingPolicy } from "./scaling-policy.ts";

/** What holds for one service whatever its load. */
export interface ScalingBounds {
  min: number;
  max: number;
  /** Replicas go only if none more were needed for so long, in milliseconds. */
  stabilizationMs: number;
  /** With a minimum of 0: without a request for so long, in milliseconds, there are none. */
  idleMs: number;
  /** Replica hours in a day of UTC; undefined: no cap. */
  maxReplicaHours?: number | undefined;
}

/** How many replicas there are to be, and why. */
export interface ScalingDecision {
  readonly atMs: number;
  /** Meant to run before. */
  readonly from: number;
  /** Meant to run from now on. */
  readonly to: number;
  /** What the policy says, before any limit. */
  readonly recommendation: Recommendation;
  /** What keeps it from doing what the policy says, a sentence each. */
  readonly limits: readonly string[];
  /** The policy's reason with the limits, as a person would say it. */
  readonly reason: string;
}

/** Time in which a service spends on replicas beyond its minimum what its cap leaves must be worth a start. */
const WORTH_A_START_MS = 60_000;

/** One service's scaling: what a policy says, within its bounds. Pure but for its memory; never outside of min and max. */
export class ReplicaScaler {
  readonly #policy: ScalingPolicy;
  readonly #bounds: ScalingBounds;
  readonly #window: RecommendationWindow;
  readonly #budget: ReplicaBudget | undefined;
  #busyAt: number | undefined;
  #hasLooked = false;

  /** `used`: what the day has cost already. */
  constructor(policy: ScalingPolicy, bounds: ScalingBounds, used?: DailyUse) {
    this.#policy = policy;
    this.#bounds = bounds;
    this.#window = new RecommendationWindow(bounds.stabilizationMs);
    const { maxReplicaHours, min } = bounds;
    if (maxReplicaHours !== undefined) {
      this.#budget = new ReplicaBudget({ maxReplicaHours, min: Math.max(1, min), ...(used ? { used } : {}) });
    }
  }

  /** What the day has cost; undefined without a cap. */
  get use(): DailyUse | undefined {
    return this.#budget?.use;
  }

  /** What is to be now; to be asked every 2 s, with what holds then. */
  decide(sample: LoadSample): ScalingDecision {
    const { atMs, replicas: from, concurrency } = sample;
    if (concurrency > 0 || this.#busyAt === undefined) this.#busyAt = atMs;
    this.#budget?.note(atMs, from);
    const recommendation = this.#policy.recommend(sample);
    const limits: string[] = [];
    let to = this.#stabilized({ atMs, from }, recommendation.replicas, limits);
    to = this.#keepsAwake({ atMs, concurrency }, to, limits);
    to = this.#bounded(to, limits);
    to = this.#afforded({ atMs, from }, to, limits);
    return { atMs, from, to, recommendation, limits, reason: [recommendation.why, ...limits].join("; ") };
  }

  #stabilized({ atMs, from }: { atMs: number; from: number }, recommended: number, limits: string[]): number {
    // What was there before is what was needed before, as far as is known.
    if (!this.#hasLooked) this.#window.highest(atMs, from);
    this.#hasLooked = true;
    const highest = this.#window.highest(atMs, recommended);
    const to = recommended >= from ? recommended : Math.min(from, highest);
    if (to > recommended) {
      limits.push(
        `${highest} were needed within the last ${this.#bounds.stabilizationMs / 1000} s (scaling.stabilization)`,
      );
    }
    return to;
  }

  /** The last replica goes after a quiet time, whatever longer averages say, and not before; a request has one. */
  #keepsAwake({ atMs, concurrency }: { atMs: number; concurrency: number }, to: number, limits: string[]): number {
    const { min, idleMs } = this.#bounds;
    if (min > 0 || to > 1) return to;
    const quietMs = atMs - (this.#busyAt ?? atMs);
    if (concurrency === 0 && quietMs >= idleMs) {
      if (to > 0) limits.push(`no request came for ${idleMs / 1000} s (scaling.idle)`);
      return 0;
    }
    if (to === 1) return to;
    const said = `the last request was ${Math.round(quietMs / 1000)} s ago, and the last replica goes after ${idleMs / 1000} s (scaling.idle)`;
    limits.push(said);
    return 1;
  }

  #bounded(to: number, limits: string[]): number {
    const { min, max } = this.#bounds;
    if (to > max) limits.push(`no more than ${max} (scaling.max)`);
    if (to < min) limits.push(`no fewer than ${min} (scaling.min)`);
    return Math.min(max, Math.max(min, to));
  }

  #afforded({ atMs, from }: { atMs: number; from: number }, to: number, limits: string[]): number {
    const { min, maxReplicaHours } = this.#bounds;
    const least = Math.max(1, min);
    if (this.#budget === undefined || to <= least) return to;
    const left = this.#budget.left(atMs);
    const grows = to > from;
    if (left > (grows ? (to - least) * WORTH_A_START_MS : 0)) return to;
    limits.push(
      `the ${maxReplicaHours} replica hours of today are used up but for the minimum (scaling.max_replica_hours)`,
    );
    // What is there may go on until nothing is left at all.
    return grows && left > 0 ? Math.max(from, least) : least;
  }
}
