import type { Manifest } from "@hms/manifest";
import type { ReplicaTraffic, RolloutKind, RolloutPhase, TrafficShare } from "./rollout-state.ts";
import type { SecretVersions } from "./secrets/secret-tables.ts";

/** Names a service. */
export interface ServiceKey {
  environment: string;
  service: string;
}

/** One version of a service, with all that is needed to run it again. */
export interface RevisionRecord {
  revision: number;
  manifest: Manifest;
  /** Where its program was copied from. */
  sourceDirectory: string;
  /** Empty before its release has been prepared. */
  releaseDigest: string;
  outcome: "" | "good" | "bad";
  createdAt: Date;
  /** Empty: none. */
  tag: string;
  /** Versions of the secrets that it was deployed with, by name. */
  secrets: SecretVersions;
}

/** One replica that is meant to run, or to go. */
export interface ReplicaRecord {
  id: string;
  revision: number;
  ordinal: number;
  phase: "running" | "stopping";
  traffic: ReplicaTraffic;
  /** The process that has passed its health checks, "pid@start"; empty if none has. */
  proven: string;
}

/** A rollout that has not ended, as others see it. */
export interface RunningRollout {
  rolloutId: string;
  kind: RolloutKind;
  phase: RolloutPhase;
  since: Date;
}

/** A service as the database has it: what is meant to be. */
export interface ServiceRecord extends ServiceKey {
  /** The principal that deployed it first, "user:anna"; empty if that is not known. */
  owner: string;
  currentRevision: number;
  /** 0: not in the mesh. */
  trafficRevision: number;
  /** While two versions serve side by side. */
  split: TrafficShare | undefined;
  wanted: number;
  /** What a person has set; undefined: the manifest, or the load. */
  scaledTo: number | undefined;
  /** Scaled to nothing for want of requests: the next one starts a replica. */
  asleep: boolean;
  deployedAt: Date | undefined;
  replicas: ReplicaRecord[];
  /** The current one, the one whose routes apply, and those of the replicas. */
  revisions: ReadonlyMap<number, RevisionRecord>;
  /** The oldest rollout that has not ended. */
  running: RunningRollout | undefined;
}
