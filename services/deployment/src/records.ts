import type { deployment } from "@hms/contracts";
import type { Manifest } from "@hms/manifest";
import type { PlannedReplica } from "./rollout-plan.ts";

/** Names a service. */
export interface ServiceKey {
  environment: string;
  service: string;
}

/** A service as it is kept. */
export interface ServiceRecord extends ServiceKey {
  revision: bigint;
  trafficRevision: bigint;
  wanted: number;
  deployedAt: Date | undefined;
}

/** A revision as it is kept: never changed but for its outcome. */
export interface RevisionRecord extends ServiceKey {
  revision: bigint;
  manifest: Manifest;
  releaseDigest: string;
  outcome: "untried" | "good" | "bad";
}

/** A rollout as it is kept. */
export interface RolloutRecord extends ServiceKey {
  rolloutId: string;
  kind: deployment.RolloutKind;
  state: deployment.RolloutState;
  /** 0 while a deploy has not been prepared. */
  revision: bigint;
  previousRevision: bigint;
  wanted: number;
  previousWanted: number;
  principal: string;
  manifest: Manifest | undefined;
  sourceDirectory: string | undefined;
  releaseCommandDone: boolean;
  failureReason: string;
  startedAt: Date;
  endedAt: Date | undefined;
}

/** A replica as it is kept. */
export interface ReplicaRecord extends ServiceKey, PlannedReplica {}
