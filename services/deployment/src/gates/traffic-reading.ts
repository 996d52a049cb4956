import { type Timestamp, timestampMs } from "@bufbuild/protobuf/wkt";
import type { mesh } from "@hms/contracts";
import type { SideCounts } from "./metric-verdict.ts";

/** What the data planes had counted of a service's revisions at a moment. */
export interface TrafficReading {
  /** Milliseconds; only differences mean something. */
  readonly atMs: number;
  readonly revisions: ReadonlyMap<number, mesh.RevisionTraffic>;
}

/** Reads an answer of GetTraffic for one service. */
export function readingOf({ services }: mesh.GetTrafficResponse, service: string): TrafficReading {
  const found = services.find((each) => each.service === service);
  return {
    atMs: performance.now(),
    revisions: new Map((found?.revisions ?? []).map((each) => [Number(each.revision), each])),
  };
}

/** What some revisions answered between two readings. */
export function countsBetween(
  before: TrafficReading,
  after: TrafficReading,
  includes: (revision: number) => boolean,
): SideCounts {
  let requests = 0;
  let failed = 0;
  const latencies: number[] = [];
  for (const [revision, now] of after.revisions) {
    if (!includes(revision)) continue;
    const then = sameCount(before.revisions.get(revision), now);
    const answers = answered(now);
    const earlier = then ? answered(then) : { all: 0, failed: 0 };
    requests += Math.max(0, answers.all - earlier.all);
    failed += Math.max(0, answers.failed - earlier.failed);
    for (const [bucket, count] of now.latencies.entries()) {
      const more = Number(count) - Number(then?.latencies[bucket] ?? 0);
      latencies[bucket] = (latencies[bucket] ?? 0) + Math.max(0, more);
    }
  }
  return { requests, failed, latencies: Array.from(latencies, (count) => count ?? 0) };
}

/** Counts that began anew have nothing to be subtracted. */
function sameCount(before: mesh.RevisionTraffic | undefined, now: mesh.RevisionTraffic) {
  return before && since(before.countedSince) === since(now.countedSince) ? before : undefined;
}

const since = (time: Timestamp | undefined) => (time ? timestampMs(time) : 0);

/** A client that went away says nothing of the program. */
function answered({ answers }: mesh.RevisionTraffic): { all: number; failed: number } {
  if (answers === undefined) return { all: 0, failed: 0 };
  const { informational, successful, redirection, clientError, serverError, broken } = answers;
  const failed = Number(serverError + broken);
  return { all: Number(informational + successful + redirection + clientError) + failed, failed };
}
