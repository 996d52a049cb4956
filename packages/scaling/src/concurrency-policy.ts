import { LoadWindow } from "./load-window.ts";
import type { LoadSample, Recommendation, ScalingPolicy } from "./scaling-policy.ts";

/** How a concurrency policy counts; the defaults are Knative's. */
export interface ConcurrencyOptions {
  /** Requests at once that one replica takes at most. */
  concurrency: number;
  /** So much of that is aimed at; default 0.7. */
  utilization?: number;
  /** Default 60000. */
  stableMs?: number;
  /** Default 6000. */
  panicMs?: number;
  /** It panics when the short window needs so many times what is ready; default 2. */
  panicThreshold?: number;
  /** At most so many times what is ready; default 1000. */
  maxUpRate?: number;
  /** At least what is ready divided by so many; default 2. */
  maxDownRate?: number;
}

/** Division of sums of time that are not exact must not make one replica more. */
const EPSILON = 1e-9;

/**
 * As many replicas as the requests at once need, on average of a long window and, while they surge, of a short one: Knative's
 * pod autoscaler (knative/serving, pkg/autoscaler/scaling/autoscaler.go). While it panics it only grows, and it does so from
 * the moment at which the short window needs `panicThreshold` times what is ready until a whole long window after the last
 * such moment. It begins in panic if there is more than one replica, so one that has just started lets none go before it has
 * seen a whole window.
 */
export class ConcurrencyPolicy implements ScalingPolicy {
  readonly #target: number;
  readonly #options: Required<ConcurrencyOptions>;
  readonly #stable: LoadWindow;
  readonly #panic: LoadWindow;
  #last: number | undefined;
  #panicSince: number | undefined;
  #most = 0;

  constructor(options: ConcurrencyOptions) {
    const defaults = { utilization: 0.7, stableMs: 60_000, panicMs: 6_000, panicThreshold: 2, maxUpRate: 1000 };
    this.#options = { ...defaults, maxDownRate: 2, ...options };
    this.#target = this.#options.concurrency * this.#options.utilization;
    this.#stable = new LoadWindow(this.#options.stableMs);
    this.#panic = new LoadWindow(this.#options.panicMs);
  }

  recommend(sample: LoadSample): Recommendation {
    const { atMs, concurrency, replicas } = sample;
    if (this.#last === undefined && replicas > 1) {
      this.#panicSince = atMs;
      this.#most = replicas;
    }
    const span = { from: this.#last ?? atMs, to: atMs, value: concurrency };
    this.#stable.add(span);
    this.#panic.add(span);
    this.#last = atMs;
    return this.#decide(sample);
  }

  #decide({ atMs, ready: seen }: LoadSample): Recommendation {
    const { panicThreshold, stableMs, maxUpRate, maxDownRate } = this.#options;
    const [stable, panic] = [this.#stable.average(), this.#panic.average()];
    const ready = Math.max(1, seen);
    const needed = (load: number) => Math.ceil(load / this.#target - EPSILON);
    const rated = (count: number) =>
      Math.min(Math.max(count, Math.floor(ready / maxDownRate)), Math.ceil(ready * maxUpRate));
    const isSurging = needed(panic) / ready >= panicThreshold;
    if (isSurging) this.#panicSince = atMs;
    else if (this.#panicSince !== undefined && this.#panicSince + stableMs < atMs) {
      this.#panicSince = undefined;
      this.#most = 0;
    }
    const calm = rated(needed(stable));
    const figures = { stable, panic, target: this.#target, panicking: this.#panicSince === undefined ? 0 : 1 };
    if (this.#panicSince === undefined) {
      return { replicas: calm, figures, why: `${this.#inWords(stable, stableMs)} ${takes(needed(stable))}` };
    }
    this.#most = Math.max(this.#most, calm, rated(needed(panic)));
    return { replicas: this.#most, figures, why: this.#whyPanic({ panic, needed: needed(panic), isSurging }) };
  }

  #whyPanic({ panic, needed, isSurging }: { panic: number; needed: number; isSurging: boolean }): string {
    const { panicMs, stableMs, panicThreshold } = this.#options;
    const said = `${this.#inWords(panic, panicMs)} ${takes(needed)}`;
    if (isSurging) return `${said}, ${panicThreshold} times what is ready or more, so it only grows`;
    return `${said}; the load has surged, or the server has started, within the last ${stableMs / 1000} s, so none is let go`;
  }

  #inWords(load: number, windowMs: number): string {
    return `${round(load)} requests at once over ${windowMs / 1000} s, at ${round(this.#target)} for each replica,`;
  }
}

const takes = (count: number) => `take ${count === 1 ? "1 replica" : `${count} replicas`}`;

const round = (value: number) => Number(value.toFixed(1));
