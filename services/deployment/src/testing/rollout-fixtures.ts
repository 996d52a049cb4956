import { replicaSuffix } from "../rollout-id.ts";
import { plannedRollout } from "../rollout-machine.ts";
import type {
  Effect,
  EffectResult,
  Failure,
  LockGrant,
  RolloutInput,
  RolloutKind,
  RolloutPolicy,
  RolloutState,
  SideBySide,
} from "../rollout-state.ts";

/** A policy of two replicas, with changes. */
export const policy = (change: Partial<RolloutPolicy> = {}): RolloutPolicy => ({
  wanted: 2,
  surge: 1,
  startTimeoutMs: 30_000,
  minHealthyTimeMs: 1000,
  drainTimeoutMs: 30_000,
  stopGraceMs: 10_000,
  deadlineMs: 300_000,
  release: "make",
  runsReleaseCommand: false,
  ...change,
});

/** Both versions side by side: 1 % and 50 % watched for a minute each, then everything. */
export const canary: SideBySide = {
  steps: [
    { share: 100, holdMs: 60_000 },
    { share: 5_000, holdMs: 60_000 },
    { share: 10_000, holdMs: 0 },
  ],
  whole: false,
  warmMs: 0,
};

/** A whole new set beside the old one, switched to when somebody says so. */
export const blueGreen: SideBySide = {
  steps: [{ share: 0 }, { share: 10_000, holdMs: 0 }],
  whole: true,
  warmMs: 30_000,
};

/** Replicas of revision 1 that have traffic, of a rollout whose id ends as that of `planned` does. */
export const oldReplicas = (count: number): LockGrant["existing"] =>
  Array.from({ length: count }, (_, index) => ({
    id: `default/a/1/${index + 1}-${replicaSuffix("q-abcdef")}`,
    revision: 1,
    ordinal: index + 1,
    traffic: "active" as const,
  }));

/** A rollout of service "a" to revision 2 that waits for its lock. */
export function planned(kind: RolloutKind): RolloutState {
  const names = { rolloutId: "r-abcdef", environment: "default", service: "a" };
  return plannedRollout({ ...names, kind, revision: 2, previousRevision: 1 });
}

/** An effect that failed. */
export const failure = ({ kind }: Effect): Failure => ({ reason: `${kind} failed.`, remedy: "" });

/** An effect that was done. */
export function success({ kind }: Effect): RolloutInput {
  const result: EffectResult = { nodes: 1 };
  if (kind === "prepare") result.release = { digest: `sha256:${"ab".repeat(32)}`, fileCount: 12, reused: false };
  return { type: "done", result };
}
