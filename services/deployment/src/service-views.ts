import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { deployment } from "@hms/contracts";
import type { HealthMonitor } from "./health/health-monitor.ts";
import type { ReplicaRecord, RolloutRecord, ServiceRecord } from "./records.ts";
import { serviceUrls } from "./replica-spec.ts";
import type { DeploymentStore } from "./store.ts";

const { ServiceHealth } = deployment;

type SummaryInit = MessageInitShape<typeof deployment.ServiceSummarySchema>;
type ReplicaInit = MessageInitShape<typeof deployment.ReplicaStatusSchema>;

/** Shows services as people and programs see them. */
export class ServiceViews {
  readonly #store: DeploymentStore;
  readonly #health: HealthMonitor;

  constructor(store: DeploymentStore, health: HealthMonitor) {
    this.#store = store;
    this.#health = health;
  }

  /** A service in one line. */
  async summary(service: ServiceRecord): Promise<SummaryInit> {
    const [replicas, revision, [rollout]] = await Promise.all([
      this.#store.replicas(service),
      this.#store.revision(service, service.revision),
      this.#store.rollouts.running(service),
    ]);
    const ready = replicas.filter(({ id, phase }) => phase === "active" && this.#health.get(id)?.isHealthy).length;
    return {
      environment: service.environment,
      name: service.service,
      revision: service.revision,
      version: revision?.manifest.version ?? "",
      health: healthOf(ready, service.wanted),
      replicasReady: ready,
      replicasWanted: service.wanted,
      urls: revision ? serviceUrls(revision.manifest) : [],
      ...(service.deployedAt ? { deployedAt: timestampFromDate(service.deployedAt) } : {}),
      ...(rollout ? { rolloutId: rollout.rolloutId, rolloutState: rollout.state } : {}),
    };
  }

  /** A service's replicas with their health. */
  async replicas(service: ServiceRecord): Promise<ReplicaInit[]> {
    return (await this.#store.replicas(service)).map((replica) => this.#replica(replica));
  }

  #replica({ id, phase }: ReplicaRecord): ReplicaInit {
    const health = this.#health.get(id);
    const at = health?.lastProbe.at;
    return {
      replica: health?.replica ?? { spec: { replicaId: id } },
      ready: phase === "active" && (health?.isHealthy ?? false),
      lastProbe: health?.lastProbe.answer ?? "",
      ...(at ? { lastProbeAt: timestampFromDate(at) } : {}),
    };
  }
}

function healthOf(ready: number, wanted: number): deployment.ServiceHealth {
  if (wanted === 0) return ServiceHealth.STOPPED;
  if (ready === 0) return ServiceHealth.DOWN;
  return ready < wanted ? ServiceHealth.DEGRADED : ServiceHealth.HEALTHY;
}

/** A rollout in one line. */
export async function rolloutSummary(
  rollout: RolloutRecord,
  store: DeploymentStore,
): Promise<MessageInitShape<typeof deployment.RolloutSummarySchema>> {
  const revision = rollout.revision === 0n ? undefined : await store.revision(rollout, rollout.revision);
  const { rolloutId, kind, state, previousRevision, principal, startedAt, endedAt } = rollout;
  return {
    rolloutId,
    kind,
    state,
    revision: rollout.revision,
    previousRevision,
    version: revision?.manifest.version ?? rollout.manifest?.version ?? "",
    releaseDigest: revision?.releaseDigest ?? "",
    startedAt: timestampFromDate(startedAt),
    ...(endedAt ? { endedAt: timestampFromDate(endedAt) } : {}),
    failureReason: rollout.failureReason,
    principal,
  };
}
