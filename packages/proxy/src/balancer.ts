import type { LatencyEstimate } from "./latency-estimate.ts";

/** What balancing has to know of an endpoint. */
export interface Candidate {
  readonly weight: number;
  readonly inFlight: number;
  readonly ejectedUntil: number;
  readonly latency: LatencyEstimate;
}

/** Endpoints of one weight, and the share of traffic that falls to all of them. */
interface WeightClass<T> {
  members: readonly T[];
  totalWeight: number;
}

/** An endpoint with requests but without a measurement is taken for slow, so that a cold one is not flooded. */
const UNKNOWN_LATENCY_MS = 1_000;

/** What one more request on it would cost: expected latency times the requests it would then have (Finagle, Linkerd). */
export function costOf(candidate: Candidate, now: number): number {
  const { latency, inFlight } = candidate;
  if (latency.isKnown) return latency.current(now) * (inFlight + 1);
  return inFlight === 0 ? 0 : UNKNOWN_LATENCY_MS * (inFlight + 1);
}

/**
 * Power of two choices (Mitzenmacher): of two endpoints drawn at random the cheaper one. Weights decide first which
 * group of equally weighted endpoints a request goes to, cost decides within the group.
 */
export class Balancer<T extends Candidate> {
  readonly #classes: WeightClass<T>[];
  readonly #totalWeight: number;
  readonly #all: readonly T[];
  readonly #random: () => number;

  /** Endpoints of weight 0 or less get nothing. */
  constructor(candidates: readonly T[], random: () => number = Math.random) {
    this.#all = candidates.filter((candidate) => candidate.weight > 0);
    this.#classes = [...Map.groupBy(this.#all, (candidate) => candidate.weight)].map(([weight, members]) => ({
      members,
      totalWeight: weight * members.length,
    }));
    this.#totalWeight = this.#classes.reduce((sum, { totalWeight }) => sum + totalWeight, 0);
    this.#random = random;
  }

  /** How many endpoints it chooses from. */
  get size(): number {
    return this.#all.length;
  }

  /** The endpoint for a request, or null if none is left. Ejected ones are only taken when there are no others. */
  pick(now: number, tried: readonly T[]): T | null {
    const members = this.#drawClass();
    const first = this.#draw(members);
    if (first === null) return null;
    const second = members.length === 1 ? first : this.#drawOther(members, first);
    const firstIsGood = isGood(first, now, tried);
    if (isGood(second, now, tried)) {
      return firstIsGood && costOf(first, now) <= costOf(second, now) ? first : second;
    }
    return firstIsGood ? first : this.#pickFromAll(now, tried);
  }

  #drawClass(): readonly T[] {
    const classes = this.#classes;
    if (classes.length <= 1) return this.#all;
    let point = this.#random() * this.#totalWeight;
    for (const { members, totalWeight } of classes) {
      point -= totalWeight;
      if (point < 0) return members;
    }
    return this.#all;
  }

  #draw(members: readonly T[]): T | null {
    const { length } = members;
    if (length === 0) return null;
    return members[length === 1 ? 0 : (this.#random() * length) | 0] as T;
  }

  #drawOther(members: readonly T[], first: T): T {
    const second = members[(this.#random() * (members.length - 1)) | 0] as T;
    return second === first ? (members[members.length - 1] as T) : second;
  }

  #pickFromAll(now: number, tried: readonly T[]): T | null {
    let best: T | null = null;
    let bestCost = Number.POSITIVE_INFINITY;
    let soonest: T | null = null;
    for (const candidate of this.#all) {
      if (tried.includes(candidate)) continue;
      if (candidate.ejectedUntil > now) {
        if (soonest === null || candidate.ejectedUntil < soonest.ejectedUntil) soonest = candidate;
        continue;
      }
      const cost = costOf(candidate, now);
      if (cost >= bestCost) continue;
      best = candidate;
      bestCost = cost;
    }
    return best ?? soonest;
  }
}

function isGood(candidate: Candidate, now: number, tried: readonly Candidate[]): boolean {
  return candidate.ejectedUntil <= now && (tried.length === 0 || !tried.includes(candidate));
}
