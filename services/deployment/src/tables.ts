import type { JsonValue } from "@bufbuild/protobuf";
import type { Manifest } from "@hms/manifest";
import type { ColumnType, Generated } from "kysely";
import type { ReplicaPhase } from "./rollout-plan.ts";

/** bigint columns arrive as text and are written as text. */
type Big = ColumnType<string, string | bigint, string | bigint>;
type Json<T> = ColumnType<T, string, string>;
type DefaultBig = ColumnType<string, string | bigint | undefined, string | bigint>;

/** The tables of the deployment's schema. */
export interface DeploymentTables {
  service: {
    environment: string;
    name: string;
    revision: DefaultBig;
    traffic_revision: DefaultBig;
    last_revision: DefaultBig;
    wanted: Generated<number>;
    deployed_at: Date | null;
  };
  revision: {
    environment: string;
    service: string;
    revision: Big;
    manifest: Json<Manifest>;
    release_digest: string;
    outcome: Generated<"untried" | "good" | "bad">;
    created_at: Generated<Date>;
  };
  rollout: {
    rollout_id: string;
    environment: string;
    service: string;
    kind: number;
    state: number;
    revision: DefaultBig;
    previous_revision: DefaultBig;
    wanted: number;
    previous_wanted: number;
    principal: string;
    manifest: ColumnType<Manifest | null, string | null, string | null>;
    source_directory: string | null;
    release_command_done: Generated<boolean>;
    failure: ColumnType<JsonValue | null, string | null, string | null>;
    started_at: Generated<Date>;
    ended_at: Date | null;
    owner: string | null;
    lease_until: Date | null;
  };
  rollout_event: { rollout_id: string; sequence: Big; event: Json<JsonValue> };
  replica: {
    replica_id: string;
    environment: string;
    service: string;
    revision: Big;
    rollout_id: string;
    phase: ReplicaPhase;
    created_at: Generated<Date>;
  };
}
