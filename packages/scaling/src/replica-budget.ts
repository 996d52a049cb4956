const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** What has been used of a day's replica hours. */
export interface DailyUse {
  /** The day in UTC, counted from 1970. */
  day: number;
  /** Replicas times milliseconds. */
  replicaMs: number;
}

/** The day of a moment, in UTC, counted from 1970. */
export const dayOf = (atMs: number): number => Math.floor(atMs / DAY_MS);

/**
 * The replica hours of a day in UTC. What the minimum needs until its end is set aside, and what is left pays for replicas
 * beyond it: when nothing is left, the minimum runs, so the day's sum stays within the cap.
 */
export class ReplicaBudget {
  readonly #capMs: number;
  readonly #min: number;
  #use: DailyUse;
  #last: number | undefined;

  /** `used`: what the day has cost already. */
  constructor({ maxReplicaHours, min, used }: { maxReplicaHours: number; min: number; used?: DailyUse }) {
    this.#capMs = maxReplicaHours * HOUR_MS;
    this.#min = min;
    this.#use = used ?? { day: 0, replicaMs: 0 };
  }

  /** What the day has cost, up to the last moment that was told. */
  get use(): DailyUse {
    return this.#use;
  }

  /** So many replicas have been there since the moment before. */
  note(atMs: number, replicas: number): void {
    const day = dayOf(atMs);
    const begin = Math.max(this.#last ?? atMs, day * DAY_MS);
    const before = this.#use.day === day ? this.#use.replicaMs : 0;
    this.#use = { day, replicaMs: before + Math.max(0, atMs - begin) * replicas };
    this.#last = atMs;
  }

  /** Milliseconds of one replica beyond the minimum that are left today. */
  left(atMs: number): number {
    const restOfDay = (dayOf(atMs) + 1) * DAY_MS - atMs;
    const used = this.#use.day === dayOf(atMs) ? this.#use.replicaMs : 0;
    return this.#capMs - used - restOfDay * this.#min;
  }
}
