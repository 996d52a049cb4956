/** Where a replica is between its start and its end. */
export type ReplicaPhase = "starting" | "active" | "draining";

/** A replica as a plan sees it. */
export interface PlannedReplica {
  id: string;
  revision: bigint;
  /** The rollout that started it. */
  rolloutId: string;
  phase: ReplicaPhase;
}

/** What a rollout wants to be true in the end. */
export interface RolloutTarget {
  revision: bigint;
  wanted: number;
  /** Only replicas of this rollout count: a restart replaces replicas of the same revision. */
  onlyRollout?: string | undefined;
  /** Replicas of this rollout do not count: it is being undone. */
  notRollout?: string | undefined;
  /** The most replicas to start at once, at least 1. */
  batch: number;
}

/** The next thing to do on the way to a target. */
export type RolloutStep =
  /** End replicas that never had traffic and are not wanted. */
  | { kind: "abandon"; ids: string[] }
  /** Wait until nothing runs on these any more, then end them. */
  | { kind: "drain"; ids: string[] }
  /** Wait until these are healthy, then give them traffic and take it from as many of `replaces`. */
  | { kind: "shift"; ids: string[]; replaces: string[] }
  | { kind: "start"; count: number }
  /** Take the traffic from these. */
  | { kind: "retire"; ids: string[] }
  | { kind: "done" };

/** True for the replicas that a target keeps. */
export function belongsTo(target: RolloutTarget, replica: PlannedReplica): boolean {
  if (replica.revision !== target.revision || replica.rolloutId === target.notRollout) return false;
  return target.onlyRollout === undefined || replica.rolloutId === target.onlyRollout;
}

/**
 * The next step from what is to what is wanted; pure, so that a rollout goes on exactly where a crash left it. At any
 * time at least as many replicas have traffic as before or as are wanted, whichever is less, and one loses traffic only
 * when its successor has it.
 */
export function nextStep(replicas: readonly PlannedReplica[], target: RolloutTarget): RolloutStep {
  const ids = (some: readonly PlannedReplica[]) => some.map(({ id }) => id);
  const ours = replicas.filter((replica) => belongsTo(target, replica));
  const others = replicas.filter((replica) => !belongsTo(target, replica));
  const starting = ours.filter(({ phase }) => phase === "starting");
  const active = ours.filter(({ phase }) => phase === "active");
  const surplus = Math.max(0, active.length + starting.length - target.wanted);

  const unwanted = [...others.filter(({ phase }) => phase === "starting"), ...starting.slice(0, surplus)];
  if (unwanted.length > 0) return { kind: "abandon", ids: ids(unwanted) };
  const draining = replicas.filter(({ phase }) => phase === "draining");
  if (draining.length > 0) return { kind: "drain", ids: ids(draining) };
  const oldActive = others.filter(({ phase }) => phase === "active");
  if (starting.length > 0) {
    return { kind: "shift", ids: ids(starting), replaces: ids(oldActive.slice(0, starting.length)) };
  }
  const missing = target.wanted - active.length;
  if (missing > 0) {
    // Where nothing serves, nothing has to be replaced gently.
    const batch = active.length + oldActive.length === 0 ? missing : Math.max(1, target.batch);
    return { kind: "start", count: Math.min(missing, batch) };
  }
  const retired = [...oldActive, ...active.slice(0, surplus)];
  return retired.length > 0 ? { kind: "retire", ids: ids(retired) } : { kind: "done" };
}
