import { hasEnded, type RolloutState } from "./rollout-state.ts";

/** What the end of a rollout says of revisions. */
export interface RevisionVerdict {
  revision: number;
  outcome: "good" | "bad";
}

/** The verdicts that a state of a rollout holds; none before its end. */
export function revisionVerdicts(state: RolloutState): RevisionVerdict[] {
  const { kind, phase, revision, previousRevision } = state;
  if (!hasEnded(state) || (kind !== "deploy" && kind !== "rollback")) return [];
  if (phase !== "succeeded") return kind === "deploy" ? [{ revision, outcome: "bad" }] : [];
  const verdicts: RevisionVerdict[] = [{ revision, outcome: "good" }];
  // Going back is a verdict: the next rollback looks further back.
  if (kind === "rollback" && previousRevision > revision) {
    verdicts.push({ revision: previousRevision, outcome: "bad" });
  }
  return verdicts;
}
