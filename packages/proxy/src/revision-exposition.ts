import { metricFamily, metricSample } from "@hms/telemetry/metrics";
import { LATENCY_BUCKETS, latencyBoundMs } from "./latency-buckets.ts";
import { CODE_CLASSES } from "./metrics-registry.ts";
import { Outcome, type RevisionCounts } from "./revision-counts.ts";
import type { Service } from "./service.ts";
import { inFlightOf } from "./service-traffic.ts";

/** So many classes of times share one line: each bound is about twice the one before. */
const CLASSES_PER_BOUND = 8;
const ANSWERS = "hms_proxy_revision_answers_total";
const DURATIONS = "hms_proxy_revision_response_seconds";
const IN_FLIGHT = "hms_proxy_revision_in_flight";

/** One revision of the snapshot that has been asked for something. */
interface Shown {
  labels: Record<string, string>;
  counts: RevisionCounts;
  inFlight: number;
}

/** What is counted by revision, of those that have endpoints: a revision that leaves takes its lines along. */
export function revisionLines(services: readonly Service[]): string[] {
  const shown = services.flatMap(shownOf);
  return [
    ...metricFamily(`${ANSWERS} counter Attempts that have ended, by the class of the answer.`),
    ...shown.flatMap(answerLines),
    ...metricFamily(`${DURATIONS} histogram Time from the end of a request to the head of the answer.`),
    ...shown.flatMap(durationLines),
    ...metricFamily(`${IN_FLIGHT} gauge Requests and tunnels on endpoints of a revision now.`),
    ...shown.map(({ labels, inFlight }) => metricSample(IN_FLIGHT, labels, inFlight)),
  ];
}

// Programs outside of the mesh, and the platform itself, have no revisions.
function shownOf({ environment, name, revisions, endpoints }: Service): Shown[] {
  if (environment === "") return [];
  return [...revisions.values()].flatMap((counts) => {
    const inFlight = inFlightOf(counts.revision, endpoints);
    if (inFlight === 0 && !counts.answers.some((count) => count > 0)) return [];
    return [{ labels: { environment, service: name, revision: String(counts.revision) }, counts, inFlight }];
  });
}

function answerLines({ labels, counts }: Shown): string[] {
  return [...counts.answers].flatMap((count, outcome) => {
    if (count === 0) return [];
    const code = outcome === Outcome.BROKEN ? "broken" : (CODE_CLASSES[outcome] as string);
    return [metricSample(ANSWERS, { ...labels, code }, count)];
  });
}

function durationLines({ labels, counts: { latencies, latencySumMs } }: Shown): string[] {
  const lines: string[] = [];
  let total = 0;
  for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
    total += latencies[bucket] as number;
    const isLast = bucket === LATENCY_BUCKETS - 1;
    if (bucket % CLASSES_PER_BOUND > 0 && !isLast) continue;
    const le = isLast ? "+Inf" : String(Number((latencyBoundMs(bucket) / 1000).toPrecision(4)));
    lines.push(metricSample(`${DURATIONS}_bucket`, { ...labels, le }, total));
  }
  lines.push(metricSample(`${DURATIONS}_sum`, labels, latencySumMs / 1000));
  lines.push(metricSample(`${DURATIONS}_count`, labels, total));
  return lines;
}
