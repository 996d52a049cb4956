import type { ReplicaHealth } from "./health/replica-health.ts";
import type { ReplicaTraffic } from "./rollout-state.ts";

/** A replica as routing sees it. */
export interface RoutableReplica {
  id: string;
  revision: number;
  /** What it is meant to get. */
  traffic: ReplicaTraffic;
  health: Pick<ReplicaHealth, "state">;
  /** On 127.0.0.1; 0: not known. */
  port: number;
}

/** Whether an endpoint gets new requests or only finishes those it has. */
export interface PlannedEndpoint {
  id: string;
  revision: number;
  port: number;
  state: "active" | "draining";
}

type HealthState = ReplicaHealth["state"];

/**
 * Which replicas get requests. Of those meant to, the ready ones. If none of them is ready, traffic is not taken from
 * everybody at once, because checks that all fail together say more about the checks (a busy machine) than about the
 * replicas; the idea is Envoy's panic threshold, at "none left". Then, in this order: ready ones that are about to
 * leave, those that passed their checks earlier in the life of their process. A process that has not passed its checks
 * yet never gets a request, nor does one that has ended.
 */
export function plannedEndpoints(replicas: readonly RoutableReplica[]): PlannedEndpoint[] {
  const there = replicas.filter(({ port, traffic }) => port > 0 && traffic !== "none");
  const chosen = new Set(chooseActive(replicas, there));
  return there
    .filter((replica) => chosen.has(replica) || finishes(replica))
    .map((replica) => {
      const { id, revision, port } = replica;
      return { id, revision, port, state: chosen.has(replica) ? ("active" as const) : ("draining" as const) };
    });
}

const finishes = ({ health }: RoutableReplica) => health.state === "ready" || health.state === "failing";

function chooseActive(all: readonly RoutableReplica[], there: readonly RoutableReplica[]): RoutableReplica[] {
  // A service that is meant to get nothing gets nothing.
  if (!all.some(({ traffic }) => traffic === "active")) return [];
  const of = (traffic: ReplicaTraffic, state: HealthState) =>
    there.filter((replica) => replica.traffic === traffic && replica.health.state === state);
  const choices = [of("active", "ready"), of("draining", "ready"), of("active", "failing")];
  return choices.find((choice) => choice.length > 0) ?? [];
}
