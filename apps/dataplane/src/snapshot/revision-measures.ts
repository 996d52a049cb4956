import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import type { RevisionTraffic, ServiceTraffic } from "@hms/proxy";
import { revisionOf } from "./traffic-report.ts";

/** Told at these moments of the clock, by all data planes at about the same time. */
const MEASURE_MS = 10_000;
const MOST = 10_000;

/** What revisions have answered since it was said last. */
interface MeasureNews {
  readonly messages: mesh.RevisionMeasure[];
  confirm(): void;
}

const NOTHING: MeasureNews = { messages: [], confirm: () => {} };

/** The differences between what an engine counts of its revisions at one time and the next. */
export class RevisionMeasures {
  #told = new Map<string, RevisionTraffic>();
  #toldAt: number | undefined;

  /** Asks for the counts if ten seconds are over, by the clock; `now` in milliseconds since 1970. */
  news(read: () => readonly ServiceTraffic[], now: number): MeasureNews {
    const toldAt = this.#toldAt ?? now;
    this.#toldAt = toldAt;
    if (Math.floor(now / MEASURE_MS) === Math.floor(toldAt / MEASURE_MS)) return NOTHING;
    const counted = new Map<string, RevisionTraffic>();
    const messages: mesh.RevisionMeasure[] = [];
    for (const { environment, service, revisions } of read()) {
      for (const revision of revisions) {
        const key = `${environment}/${service}/${revision.revision}`;
        counted.set(key, revision);
        const { answers, latencies, inFlight } = revisionOf(differenceOf(revision, this.#told.get(key)));
        if (inFlight === 0 && Object.values(answers).every((count) => count === 0n)) continue;
        const periodMs = BigInt(Math.max(now - toldAt, 0));
        const [number, base] = [BigInt(revision.revision), { environment, service, periodMs }];
        messages.push(create(mesh.RevisionMeasureSchema, { ...base, revision: number, answers, latencies, inFlight }));
      }
    }
    return {
      messages: messages.slice(0, MOST),
      confirm: () => {
        this.#told = counted;
        this.#toldAt = now;
      },
    };
  }
}

/** What came since a reading; all of it if the counts began anew. */
function differenceOf(now: RevisionTraffic, before: RevisionTraffic | undefined): RevisionTraffic {
  if (before === undefined || before.countedSince !== now.countedSince) return now;
  const answers = { ...now.answers };
  for (const name of Object.keys(answers) as (keyof typeof answers)[]) answers[name] -= before.answers[name];
  return { ...now, answers, latencies: now.latencies.map((count, n) => count - (before.latencies[n] ?? 0)) };
}
