import { revisionVerdicts } from "../revision-verdicts.ts";
import { hasEnded, type RolloutState } from "../rollout-state.ts";
import type { ReplicaRecord, RevisionRecord, ServiceRecord } from "../service-record.ts";
import { type ServiceCopy, withRevisionsInUse } from "./service-copy.ts";

/** What a transition is about: the states before and after it, and when it was made. */
export interface Turned {
  before: RolloutState;
  state: RolloutState;
  at: Date;
}

/**
 * A service after a transition of a rollback, as the database would have it: what `writeTurn` writes and `readServices` reads,
 * without either.
 */
export function copyAfter({ record, revisions }: ServiceCopy, turned: Turned): ServiceCopy {
  const { before, state, at } = turned;
  const running = hasEnded(state) ? undefined : runningOf(record, state, at);
  // A rollout that never got its turn has changed nothing.
  if (before.phase === "planned" && hasEnded(state)) return { record: { ...record, running }, revisions };
  const known = revisionsAfter(revisions, before, state);
  const after: ServiceRecord = {
    ...record,
    replicas: replicasAfter(record.replicas, before, state),
    trafficRevision: state.trafficRevision,
    split: hasEnded(state) ? undefined : state.split,
    running,
    ...(state.phase === "succeeded"
      ? {
          wanted: state.policy.wanted,
          asleep: state.policy.automatic === true && state.policy.wanted === 0,
          currentRevision: state.revision,
          deployedAt: at,
        }
      : {}),
  };
  return { record: withRevisionsInUse(after, known, [state.revision]), revisions: known };
}

function runningOf({ running }: ServiceRecord, { rolloutId, kind, phase }: RolloutState, at: Date) {
  const since = running?.rolloutId === rolloutId ? running.since : at;
  return { rolloutId, kind, phase, since };
}

function replicasAfter(records: readonly ReplicaRecord[], before: RolloutState, state: RolloutState): ReplicaRecord[] {
  const old = new Map(before.replicas.map((replica) => [replica.id, replica]));
  const rows = new Map(records.map((record) => [record.id, record]));
  for (const { id, revision, ordinal, phase, traffic } of state.replicas) {
    const known = old.get(id);
    if (phase === "planned" || (known?.phase === phase && known.traffic === traffic)) continue;
    const row = rows.get(id) ?? { id, revision, ordinal, proven: "" };
    rows.set(id, { ...row, phase, traffic });
  }
  const there = new Set(state.replicas.map(({ id }) => id));
  for (const { id, phase } of before.replicas) if (phase !== "planned" && !there.has(id)) rows.delete(id);
  return [...rows.values()].sort((a, b) => a.ordinal - b.ordinal);
}

function revisionsAfter(
  revisions: readonly RevisionRecord[],
  before: RolloutState,
  state: RolloutState,
): RevisionRecord[] {
  const { release } = state;
  const digest = release && release.digest !== before.release?.digest ? release.digest : undefined;
  const verdicts = new Map(revisionVerdicts(state).map(({ revision, outcome }) => [revision, outcome]));
  return revisions.map((each) => ({
    ...each,
    ...(digest !== undefined && each.revision === state.revision ? { releaseDigest: digest } : {}),
    outcome: verdicts.get(each.revision) ?? each.outcome,
  }));
}
