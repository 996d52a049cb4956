import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { mesh } from "@hms/contracts";
import type { RevisionTraffic, ServiceTraffic } from "@hms/proxy";

/** What is counted is told this often at most. */
export const TRAFFIC_MS = 1000;

/** What is reported at a time, and what to do once the server has it. */
export interface TrafficNews {
  readonly messages: readonly mesh.ServiceTraffic[];
  confirm(): void;
}

/** Says of which services something was counted since the server heard of them last. */
export class TrafficReport {
  readonly #traffic: () => readonly ServiceTraffic[];
  #told = new Map<string, string>();

  /** Takes what tells the counts of all services. */
  constructor(traffic: () => readonly ServiceTraffic[]) {
    this.#traffic = traffic;
  }

  /** What the server does not know yet. */
  news(): TrafficNews {
    const told = new Map<string, string>();
    const messages: mesh.ServiceTraffic[] = [];
    for (const service of this.#traffic()) {
      const key = `${service.environment}/${service.service}`;
      const mark = markOf(service);
      if (mark === this.#told.get(key) || mark === NOTHING) continue;
      told.set(key, mark);
      messages.push(messageOf(service));
    }
    return {
      messages,
      confirm: () => {
        for (const [key, mark] of told) this.#told.set(key, mark);
      },
    };
  }

  /** The server may have begun anew: it is told everything again. */
  forget(): void {
    this.#told = new Map();
  }
}

const NOTHING = "0 0 0 ";

/** Another one after everything that is counted: whatever is, is within a request, and those are counted and timed. */
function markOf({ load, revisions }: ServiceTraffic): string {
  const shown = revisions.map(({ revision, countedSince }) => `${revision}:${countedSince}`).join(" ");
  return `${load.requests} ${load.busyMs} ${load.inFlight} ${shown}`;
}

function messageOf(counted: ServiceTraffic): mesh.ServiceTraffic {
  const { environment, service, load, revisions, triedUnavailable, baselineUnavailable } = counted;
  return create(mesh.ServiceTrafficSchema, {
    environment,
    service,
    load: {
      countedSince: timestampFromMs(load.countedSince),
      requests: BigInt(load.requests),
      busyMs: load.busyMs,
      inFlight: load.inFlight,
      waiting: load.waiting,
    },
    revisions: revisions.map(revisionOf),
    triedUnavailable: BigInt(triedUnavailable),
    baselineUnavailable: BigInt(baselineUnavailable),
  });
}

/** What is counted of a revision, as a message has it. */
export function revisionOf(counted: RevisionTraffic) {
  const { revision, countedSince, answers, latencies, latencySumMs, inFlight } = counted;
  const { informational, successful, redirection, clientError, serverError, broken, cancelled } = answers;
  return {
    revision: BigInt(revision),
    countedSince: timestampFromMs(countedSince),
    answers: {
      informational: BigInt(informational),
      successful: BigInt(successful),
      redirection: BigInt(redirection),
      clientError: BigInt(clientError),
      serverError: BigInt(serverError),
      broken: BigInt(broken),
      cancelled: BigInt(cancelled),
    },
    latencies: latencies.slice(0, latencies.findLastIndex((count) => count > 0) + 1).map(BigInt),
    latencySumMs,
    inFlight,
  };
}
