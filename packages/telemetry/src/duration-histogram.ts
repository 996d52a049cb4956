import { metricSample } from "./prometheus-text.ts";

/** Counts durations in buckets; counting one costs a few comparisons. */
export class DurationHistogram {
  readonly #boundsMs: readonly number[];
  readonly #bounds: readonly string[];
  readonly #counts: Float64Array;
  #sumMs = 0;

  /** Takes the buckets' upper bounds in seconds, ascending. */
  constructor(boundsSeconds: readonly number[]) {
    this.#boundsMs = boundsSeconds.map((seconds) => seconds * 1000);
    this.#bounds = [...boundsSeconds.map(String), "+Inf"];
    this.#counts = new Float64Array(boundsSeconds.length + 1);
  }

  /** Counts a duration in milliseconds. */
  observe(durationMs: number): void {
    const bounds = this.#boundsMs;
    let bucket = 0;
    while (bucket < bounds.length && durationMs > (bounds[bucket] as number)) bucket += 1;
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1;
    this.#sumMs += durationMs;
  }

  /** The samples of a Prometheus histogram. */
  samples(name: string, labels: Readonly<Record<string, string>>): string[] {
    let total = 0;
    const buckets = this.#bounds.map((le, position) => {
      total += this.#counts[position] as number;
      return metricSample(`${name}_bucket`, { ...labels, le }, total);
    });
    return [
      ...buckets,
      metricSample(`${name}_sum`, labels, this.#sumMs / 1000),
      metricSample(`${name}_count`, labels, total),
    ];
  }
}
