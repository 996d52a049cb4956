import type { Endpoint } from "./endpoint.ts";
import { Outcome, outcomeOf, type RevisionCounts } from "./revision-counts.ts";
import type { Service } from "./service.ts";

/** What an engine has counted of one service; times since 1970 and durations in milliseconds. */
export interface ServiceTraffic {
  environment: string;
  service: string;
  load: ServiceLoad;
  /** Of services that have a split or are observed, by number; empty of others, unless every revision was asked for. */
  revisions: RevisionTraffic[];
  /** Requests meant for the tried revision of a split that the baseline took, because none of its endpoints accepted. */
  triedUnavailable: number;
  /** Requests meant for the baseline that the tried revision took. */
  baselineUnavailable: number;
}

/** How busy a service is. */
export interface ServiceLoad {
  /** Another time means that the counts began anew. */
  countedSince: number;
  requests: number;
  /** How long requests and tunnels have run, all together, up to now. */
  busyMs: number;
  /** Requests and tunnels that run now, with those that wait. */
  inFlight: number;
  /** Requests that wait for a replica. */
  waiting: number;
}

/** How one revision answered. */
export interface RevisionTraffic {
  revision: number;
  /** Another time means that the counts began anew. */
  countedSince: number;
  /** Attempts that have ended, by how. */
  answers: AnswerCounts;
  /** By the classes of `latencyBoundMs`. */
  latencies: number[];
  latencySumMs: number;
  /** Requests and tunnels on its endpoints now. */
  inFlight: number;
}

/** Attempts by the class of the answer's status, without an answer, and given up by clients. */
export interface AnswerCounts {
  informational: number;
  successful: number;
  redirection: number;
  clientError: number;
  serverError: number;
  broken: number;
  cancelled: number;
}

/** What a service counts, at this moment (in `performance.now()` time); of every revision if it is so wanted. */
export function trafficOf(service: Service, now: number, everyRevision = false): ServiceTraffic {
  const { environment, name, load, metrics, waitingRoom } = service;
  const { triedUnavailable, baselineUnavailable } = metrics;
  const { countedSince, requests, running } = load;
  const revisions = service.isObserved || everyRevision ? [...service.revisions.values()] : [];
  return {
    environment,
    service: name,
    load: { countedSince, requests, busyMs: load.busyMs(now), inFlight: running, waiting: waitingRoom.size },
    revisions: revisions.sort((a, b) => a.revision - b.revision).map((counts) => revisionOf(counts, service.endpoints)),
    triedUnavailable,
    baselineUnavailable,
  };
}

function revisionOf(counts: RevisionCounts, endpoints: readonly Endpoint[]): RevisionTraffic {
  const { revision, countedSince, latencies, latencySumMs } = counts;
  return {
    revision,
    countedSince,
    answers: answersOf(counts),
    latencies: [...latencies],
    latencySumMs,
    inFlight: inFlightOf(revision, endpoints),
  };
}

/** Requests and tunnels on the endpoints of a revision. */
export function inFlightOf(revision: number, endpoints: readonly Endpoint[]): number {
  return endpoints.reduce((sum, endpoint) => (endpoint.revision === revision ? sum + endpoint.inFlight : sum), 0);
}

function answersOf({ answers }: RevisionCounts): AnswerCounts {
  const of = (outcome: number) => answers[outcome] as number;
  return {
    informational: of(outcomeOf(100)),
    successful: of(outcomeOf(200)),
    redirection: of(outcomeOf(300)),
    clientError: of(outcomeOf(400)),
    serverError: of(outcomeOf(500)),
    broken: of(Outcome.BROKEN),
    cancelled: of(Outcome.CANCELLED),
  };
}
