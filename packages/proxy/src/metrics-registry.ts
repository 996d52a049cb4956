import { DurationHistogram } from "@hms/telemetry/metrics";

const BOUNDS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** How a request ended, by the first digit of its status; `cancelled`: the client went away before the answer. */
export const CODE_CLASSES = ["cancelled", "1xx", "2xx", "3xx", "4xx", "5xx"] as const;

/** Rate, errors and duration of one route of one service; counting costs a few array accesses. */
export class RouteMetrics {
  readonly environment: string;
  readonly service: string;
  /** The route's path, or "" for calls through the mesh. */
  readonly route: string;
  /** By position in CODE_CLASSES. */
  readonly requests = new Float64Array(CODE_CLASSES.length);
  readonly durations = new DurationHistogram(BOUNDS_SECONDS);

  constructor(labels: { environment: string; service: string; route: string }) {
    this.environment = labels.environment;
    this.service = labels.service;
    this.route = labels.route;
  }

  /** Counts a request that has ended; status 0: the client went away. */
  count(status: number, durationMs: number): void {
    const position = (status / 100) | 0;
    this.requests[position] = (this.requests[position] as number) + 1;
    this.durations.observe(durationMs);
  }
}

/** What a service counts beside its requests. */
export class ServiceMetrics {
  retries = 0;
  reconnects = 0;
  ejections = 0;
  /** Requests meant for the tried revision of a split that the baseline took, because none of its endpoints accepted. */
  triedUnavailable = 0;
  /** Requests meant for the baseline that the tried revision took. */
  baselineUnavailable = 0;
}
