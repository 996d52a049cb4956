import type { JsonObject } from "@bufbuild/protobuf";
import type { Manifest } from "@hms/manifest";
import type { ColumnType, Generated, JSONColumnType } from "kysely";
import type {
  ReplicaTraffic,
  RolloutAsk,
  RolloutKind,
  RolloutPhase,
  RolloutState,
  TrafficShare,
} from "./rollout-state.ts";
import type { SecretTables, SecretVersions } from "./secrets/secret-tables.ts";

interface ServiceTable {
  environment: string;
  name: string;
  current_revision: Generated<string>;
  traffic_revision: Generated<string>;
  wanted: Generated<number>;
  scaled_to: number | null;
  deployed_at: Date | null;
  next_revision: Generated<string>;
  owner: Generated<string>;
  split: JSONColumnType<TrafficShare> | null;
  asleep: Generated<boolean>;
}

interface RevisionTable {
  environment: string;
  service: string;
  revision: string;
  manifest: JSONColumnType<Manifest>;
  source_directory: string;
  release_digest: Generated<string>;
  outcome: Generated<"" | "good" | "bad">;
  tag: Generated<string>;
  /** Versions of secrets that it was deployed with, by name. */
  secrets: ColumnType<SecretVersions, string | undefined, string>;
  created_at: Generated<Date>;
}

interface RolloutTable {
  environment: string;
  rollout_id: string;
  service: string;
  position: Generated<string>;
  kind: RolloutKind;
  phase: RolloutPhase;
  revision: string;
  previous_revision: string;
  version: string;
  principal: string;
  request: JSONColumnType<RolloutRequest>;
  state: JSONColumnType<RolloutState>;
  turn: Generated<string>;
  events: Generated<string>;
  failure_reason: Generated<string>;
  started_at: Generated<Date>;
  ended_at: Date | null;
  asked: Generated<RolloutAsk[]>;
  reason: Generated<string>;
}

interface RolloutEventTable {
  environment: string;
  rollout_id: string;
  sequence: string;
  event: JSONColumnType<JsonObject>;
}

interface RolloutLockTable {
  environment: string;
  service: string;
  rollout_id: string;
  holder: string;
  fence: Generated<string>;
  beat_at: Generated<Date>;
  leased_until: Date;
  since: Generated<Date>;
}

interface ReplicaTable {
  environment: string;
  service: string;
  replica_id: string;
  revision: string;
  ordinal: number;
  phase: "running" | "stopping" | "gone";
  traffic: ReplicaTraffic;
  proven: Generated<string>;
  changed_at: Generated<Date>;
}

interface FreezeTable {
  environment: string;
  /** Empty: all of the environment. */
  service: string;
  until: Date;
  reason: string;
  set_by: string;
  since: Generated<Date>;
}

interface PreviewTable {
  environment: string;
  base_environment: string;
  expires_at: Date;
  owner: string;
  created_at: Date;
  set_at: Date;
  ended_by: Generated<string>;
}

interface ScalingTable {
  environment: string;
  service: string;
  day: Generated<number>;
  replica_ms: Generated<number>;
  decisions: ColumnType<ScalingNote[], string | undefined, string>;
}

/** One change that a service's load led to. */
export interface ScalingNote {
  /** Epoch milliseconds. */
  at: number;
  from: number;
  to: number;
  reason: string;
  /** Empty: none could be begun. */
  rolloutId: string;
}

/** The tables of the deployment schema. */
export interface DeploymentTables extends SecretTables {
  service: ServiceTable;
  revision: RevisionTable;
  rollout: RolloutTable;
  rollout_event: RolloutEventTable;
  rollout_lock: RolloutLockTable;
  replica: ReplicaTable;
  deploy_freeze: FreezeTable;
  preview: PreviewTable;
  scaling: ScalingTable;
}

/** What a request asked for beside a revision. */
export interface RolloutRequest {
  /** Replicas, for a scale. */
  replicas?: number;
  /** A scale that leaves the number to the load from then on. */
  automatic?: boolean;
  /** A deploy of a revision that was tried before. */
  again?: boolean;
  /** A rollback that was made while the database was away, and entered afterwards. */
  away?: boolean;
  /** The revision that has to serve when its turn has come. */
  expectedRevision?: number;
  /** A deploy that freezes and windows hold up, also when its turn has come. */
  freezable?: boolean;
  /** The run that it is a step of. */
  run?: string;
}
