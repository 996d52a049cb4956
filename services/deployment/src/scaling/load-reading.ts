import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { mesh } from "@hms/contracts";

/** What data planes had counted of a service's load at a moment. */
export interface LoadReading {
  readonly atMs: number;
  /** Another time: the counts began anew. 0: nothing was counted yet. */
  readonly since: number;
  readonly busyMs: number;
  readonly waiting: number;
}

/** Reads an answer of GetTraffic for one of its services; one of which nothing was counted has been idle. */
export function loadReading({ services, measuredAt }: mesh.GetTrafficResponse, service: string): LoadReading {
  const load = services.find((each) => each.service === service)?.load;
  return {
    atMs: measuredAt ? timestampMs(measuredAt) : 0,
    since: load?.countedSince ? timestampMs(load.countedSince) : 0,
    busyMs: load?.busyMs ?? 0,
    waiting: load?.waiting ?? 0,
  };
}

/** Average of requests at once between two readings; undefined if the counts began anew in between. */
export function averageConcurrency(before: LoadReading, after: LoadReading): number | undefined {
  const timeMs = after.atMs - before.atMs;
  // What is counted for the first time began after the reading before.
  const began = before.since === 0 && after.since > 0;
  if (timeMs <= 0 || (before.since !== after.since && !began)) return undefined;
  return Math.max(0, after.busyMs - before.busyMs) / timeMs;
}
