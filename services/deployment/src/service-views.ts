import { clone, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { agent, deployment } from "@hms/contracts";
import { type Change, type Manifest, manifestDiff } from "@hms/manifest";
import type { HealthKeeper } from "./health/health-keeper.ts";
import type { ObservedReplicas } from "./observed-replicas.ts";
import { serviceUrls } from "./replica-spec.ts";
import type { RolloutRow } from "./rollout-rows.ts";
import type { RolloutPhase } from "./rollout-state.ts";
import type { ReplicaRecord, RevisionRecord, ServiceRecord } from "./service-record.ts";

const { RolloutKind, RolloutState, ServiceHealth } = deployment;

/** Shows services as people and programs see them. */
export class ServiceViews {
  readonly #observed: ObservedReplicas;
  readonly #health: HealthKeeper;

  constructor(observed: ObservedReplicas, health: HealthKeeper) {
    this.#observed = observed;
    this.#health = health;
  }

  /** A service in one line. */
  summary(record: ServiceRecord): MessageInitShape<typeof deployment.ServiceSummarySchema> {
    const { environment, service, currentRevision, wanted, running, deployedAt } = record;
    const manifest = record.revisions.get(currentRevision)?.manifest;
    const ready = record.replicas.filter((replica) => this.#isReady(replica)).length;
    return {
      environment,
      name: service,
      revision: BigInt(currentRevision),
      version: manifest?.version ?? "",
      health: healthOf(ready, record),
      replicasReady: ready,
      replicasWanted: wanted,
      urls: manifest ? serviceUrls(manifest) : [],
      ...(deployedAt ? { deployedAt: timestampFromDate(deployedAt) } : {}),
      ...(running ? { rolloutId: running.rolloutId, rolloutState: stateOf(running.phase) } : {}),
    };
  }

  #isReady({ id, traffic }: ReplicaRecord): boolean {
    return traffic === "active" && this.#health.of(id).state === "ready";
  }

  /** A service's replicas with their health. */
  replicas(record: ServiceRecord): MessageInitShape<typeof deployment.ReplicaStatusSchema>[] {
    return record.replicas.map((replica) => {
      const { lastProbe, lastProbeAt } = this.#health.of(replica.id);
      return {
        replica: withoutEnvironment(this.#observed.get(replica.id), replica.id),
        ready: this.#isReady(replica),
        lastProbe,
        ...(lastProbeAt > 0 ? { lastProbeAt: timestampFromMs(lastProbeAt) } : {}),
      };
    });
  }
}

/** Variables may be secrets; who wants them looks into the manifest, where those are masked. */
function withoutEnvironment(replica: agent.Replica | undefined, replicaId: string) {
  if (replica === undefined) return { spec: { replicaId } };
  const shown = clone(agent.ReplicaSchema, replica);
  if (shown.spec) Object.assign(shown.spec, { env: {}, secretVariables: [], secrets: [] });
  return shown;
}

function healthOf(ready: number, record: ServiceRecord): deployment.ServiceHealth {
  const { wanted, currentRevision, running, asleep } = record;
  if (asleep) return ServiceHealth.ASLEEP;
  if (wanted === 0) return currentRevision === 0 || running ? ServiceHealth.DOWN : ServiceHealth.STOPPED;
  if (ready === 0) return ServiceHealth.DOWN;
  return ready < wanted ? ServiceHealth.DEGRADED : ServiceHealth.HEALTHY;
}

function stateOf(phase: RolloutPhase): deployment.RolloutState {
  return RolloutState[phase.toUpperCase() as keyof typeof RolloutState];
}

/** A manifest as it may be shown: values of variables that smell of secrets are masked. */
export function shownManifest(manifest: Manifest): JsonObject {
  const env: Record<string, string> = { ...manifest.env };
  const secrets: Record<string, string> = {};
  for (const { key, after } of manifestDiff(undefined, manifest)) {
    if (key.startsWith("env.") && after === "***") env[key.slice("env.".length)] = after;
    if (key.startsWith("secrets.")) secrets[key.slice("secrets.".length)] = after;
  }
  return JSON.parse(JSON.stringify({ ...manifest, env, secrets })) as JsonObject;
}

/** A rollout in one line. */
export function rolloutSummary(
  row: RolloutRow,
  revision: RevisionRecord | undefined,
  changes: readonly Change[] = [],
): MessageInitShape<typeof deployment.RolloutSummarySchema> {
  return {
    rolloutId: row.rollout_id,
    kind: RolloutKind[row.kind.toUpperCase() as keyof typeof RolloutKind],
    state: stateOf(row.phase),
    revision: BigInt(row.revision),
    previousRevision: BigInt(row.previous_revision),
    version: revision?.manifest.version ?? row.version,
    releaseDigest: revision?.releaseDigest ?? "",
    startedAt: timestampFromDate(row.started_at),
    ...(row.ended_at ? { endedAt: timestampFromDate(row.ended_at) } : {}),
    failureReason: row.failure_reason,
    principal: row.principal,
    reason: row.reason,
    tag: revision?.tag ?? "",
    runId: row.request.run ?? "",
    changes: [...changes],
  };
}
