import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { latencyQuantileMs } from "@hms/proxy/traffic-figures";
import { ANSWERS, LATENCY_CLASSES } from "./traffic-sums.ts";

interface Sum {
  environment: string;
  service: string;
  revision: bigint;
  periodMs: bigint;
  answers: mesh.AnswerCounts;
  latencies: Float64Array;
  inFlight: number;
}

/** More than a mesh has addresses for is nobody's traffic. */
const MOST = 10_000;

/** Sums up what data planes, which measure at the same moments, say of each revision: told once, a while after the first word. */
export class TrafficWindow {
  readonly #told: (all: mesh.TrafficMeasured[]) => void;
  readonly #gatherMs: number;
  #sums = new Map<string, Sum>();
  #timer: NodeJS.Timeout | undefined;

  constructor(told: (all: mesh.TrafficMeasured[]) => void, gatherMs: number) {
    this.#told = told;
    this.#gatherMs = gatherMs;
  }

  /** Takes what a data plane has measured. */
  take(measures: readonly mesh.RevisionMeasure[]): void {
    for (const measure of measures) this.#add(measure);
    if (this.#sums.size === 0) return;
    this.#timer ??= setTimeout(() => this.#tell(), this.#gatherMs).unref();
  }

  #add({ environment, service, revision, periodMs, answers, latencies, inFlight }: mesh.RevisionMeasure): void {
    const key = `${environment}/${service}/${revision}`;
    const sum = this.#sums.get(key) ?? newSum({ environment, service, revision });
    if (this.#sums.size >= MOST && !this.#sums.has(key)) return;
    this.#sums.set(key, sum);
    if (periodMs > sum.periodMs) sum.periodMs = periodMs;
    sum.inFlight += inFlight;
    for (const name of ANSWERS) sum.answers[name] += answers?.[name] ?? 0n;
    for (let n = 0; n < LATENCY_CLASSES; n += 1) {
      sum.latencies[n] = (sum.latencies[n] as number) + Number(latencies[n] ?? 0n);
    }
  }

  #tell(): void {
    const sums = [...this.#sums.values()];
    this.#sums = new Map();
    this.#timer = undefined;
    this.#told(sums.map(measuredOf));
  }

  /** Tells nothing more. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#sums.clear();
  }
}

function newSum(place: Pick<Sum, "environment" | "service" | "revision">): Sum {
  const answers = create(mesh.AnswerCountsSchema);
  return { ...place, periodMs: 0n, answers, latencies: new Float64Array(LATENCY_CLASSES), inFlight: 0 };
}

function measuredOf({ latencies, answers, ...same }: Sum): mesh.TrafficMeasured {
  const quantile = (share: number) => latencyQuantileMs(latencies, share) || 0;
  const requests = ANSWERS.reduce((sum, name) => sum + answers[name], 0n);
  const quantiles = { p50Ms: quantile(0.5), p95Ms: quantile(0.95), p99Ms: quantile(0.99) };
  return create(mesh.TrafficMeasuredSchema, { ...same, answers, requests, ...quantiles });
}
