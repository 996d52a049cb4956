import { type MethodEntry, StatusCode, type StatusCodeName } from "@hms/kernel";
import { DurationHistogram } from "./duration-histogram.ts";
import { metricFamily, metricSample } from "./prometheus-text.ts";

/** Calls in one process take microseconds, calls that start a program minutes. */
const BOUNDS_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300,
];

const CODES = Object.keys(StatusCode) as StatusCodeName[];

/** Methods beyond this many are counted together: whoever makes up names must not fill the memory. */
const MOST_METHODS = 10_000;

/** What a set of counters is called, and what it counts. */
const FAMILIES = {
  served: {
    calls: "hms_ffi_calls_total",
    callsHelp: "Calls that have ended, by method and gRPC code.",
    durations: "hms_ffi_call_duration_seconds",
    durationsHelp: "Time from a call's arrival to its end; a stream's is its whole life.",
  },
  made: {
    calls: "hms_ffi_client_calls_total",
    callsHelp:
      "Calls that this program has made and that have ended, by method and gRPC code, repetitions counted as one.",
    durations: "hms_ffi_client_call_duration_seconds",
    durationsHelp: "Time from the beginning of a call that this program made to its end; a stream's is its whole life.",
  },
} as const;

/** Which method a call was of, as far as counters tell. */
export type CountedMethod = Pick<MethodEntry, "name" | "environment">;

class MethodMetrics {
  readonly service: string;
  readonly method: string;
  readonly environment: string;
  readonly #codes = new Float64Array(CODES.length);
  readonly durations = new DurationHistogram(BOUNDS_SECONDS);

  constructor({ name, environment = "" }: { name: string; environment?: string }) {
    const [service = "", method = ""] = name.split("/");
    this.service = service;
    this.method = method;
    this.environment = environment;
  }

  count(code: StatusCodeName, durationMs: number): void {
    const position = StatusCode[code];
    this.#codes[position] = (this.#codes[position] as number) + 1;
    this.durations.observe(durationMs);
  }

  get labels(): Record<string, string> {
    const { service, method, environment } = this;
    return environment === "" ? { service, method } : { service, method, environment };
  }

  codeSamples(name: string): string[] {
    return CODES.flatMap((code) => {
      const count = this.#codes[StatusCode[code]] as number;
      return count === 0 ? [] : [metricSample(name, { ...this.labels, code }, count)];
    });
  }
}

/** Rate, errors and duration of every method of a kernel. */
export interface CallMetrics {
  /** Counts a call; the same method should be the same object. */
  finished(method: CountedMethod, code: StatusCodeName, durationMs: number): void;
  /** What has been counted, in Prometheus text format 0.0.4. */
  expose(): string;
}

/**
 * Counts the calls of a kernel, or those that a program has made, by method and code; methods that are served elsewhere
 * also by environment.
 */
export function createCallMetrics(role: keyof typeof FAMILIES = "served"): CallMetrics {
  // By entry first: one look-up for each call, and entries that have gone are not kept alive.
  const byEntry = new WeakMap<CountedMethod, MethodMetrics>();
  const byName = new Map<string, MethodMetrics>();

  const metricsOf = (entry: CountedMethod): MethodMetrics => {
    const { environment } = entry;
    const { name } = byName.size < MOST_METHODS ? entry : { name: "other/other" };
    const key = environment === undefined ? name : `${environment} ${name}`;
    let metrics = byName.get(key);
    if (metrics === undefined) {
      metrics = new MethodMetrics(environment === undefined ? { name } : { name, environment });
      byName.set(key, metrics);
    }
    byEntry.set(entry, metrics);
    return metrics;
  };

  return {
    finished(entry, code, durationMs) {
      (byEntry.get(entry) ?? metricsOf(entry)).count(code, durationMs);
    },
    expose() {
      const all = [...byName.values()];
      const { calls, callsHelp, durations, durationsHelp } = FAMILIES[role];
      return [
        ...metricFamily(`${calls} counter ${callsHelp}`),
        ...all.flatMap((metrics) => metrics.codeSamples(calls)),
        ...metricFamily(`${durations} histogram ${durationsHelp}`),
        ...all.flatMap((metrics) => metrics.durations.samples(durations, metrics.labels)),
      ].join("");
    },
  };
}
