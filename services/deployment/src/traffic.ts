import type { MessageInitShape } from "@bufbuild/protobuf";
import { agent, mesh } from "@hms/contracts";
import { type Client, HmsError } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import type { HealthMonitor } from "./health/health-monitor.ts";
import type { ReplicaRecord, ServiceKey } from "./records.ts";
import { trafficPolicy } from "./replica-spec.ts";
import type { DeploymentStore } from "./store.ts";

/** The mesh waits this long for the data planes; longer, and a rollout says that they do not follow. */
const APPLY_PATIENCE_MS = 15_000;
const REPEAT_MS = 500;

/** Keeps the mesh's picture of each service in step with its replicas and their health. */
export class Traffic {
  readonly #store: DeploymentStore;
  readonly #mesh: Client<typeof mesh.MeshService>;
  readonly #health: HealthMonitor;
  readonly #log: Logger;
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(parts: {
    store: DeploymentStore;
    mesh: Client<typeof mesh.MeshService>;
    health: HealthMonitor;
    log: Logger;
  }) {
    this.#store = parts.store;
    this.#mesh = parts.mesh;
    this.#health = parts.health;
    this.#log = parts.log;
  }

  /** Gives the mesh the picture as it is now; calls for one service come one after the other. */
  publish(key: ServiceKey): Promise<bigint> {
    const name = `${key.environment}/${key.service}`;
    const turn = (this.#turns.get(name) ?? Promise.resolve()).catch(() => {}).then(() => this.#publish(key));
    this.#turns.set(name, turn);
    return turn;
  }

  /** The same, and resolves only when every data plane serves it. */
  async publishAndConfirm(key: ServiceKey, signal?: AbortSignal): Promise<void> {
    const snapshotVersion = await this.publish(key);
    try {
      await this.#mesh.awaitApplied({ snapshotVersion }, { timeoutMs: APPLY_PATIENCE_MS, signal });
    } catch (cause) {
      if (HmsError.from(cause).code !== "DEADLINE_EXCEEDED") throw cause;
      throw new HmsError(
        "UNAVAILABLE",
        `The data plane did not take snapshot ${snapshotVersion} within ${APPLY_PATIENCE_MS / 1000} s; look into logs/dataplane.log.`,
        { cause },
      );
    }
  }

  /** Tells the mesh of a health change soon; a failure is repeated until it succeeds. */
  refresh(key: ServiceKey): void {
    this.publish(key).catch((error) => {
      this.#log.warn("the mesh was not told of a health change yet", { ...key, error });
      setTimeout(() => this.refresh(key), REPEAT_MS).unref();
    });
  }

  async #publish(key: ServiceKey): Promise<bigint> {
    const [service, replicas] = await Promise.all([this.#store.service(key), this.#store.replicas(key)]);
    const revision = service && (await this.#store.revision(key, service.trafficRevision));
    if (revision === undefined) return 0n;
    const { manifest } = revision;
    const answer = await this.#mesh.setService({
      service: {
        environment: key.environment,
        name: key.service,
        ports: manifest.port === undefined ? [] : [manifest.port],
        endpoints: this.#endpoints(replicas),
        routes: manifest.routes.map(({ path, methods }) => ({ path, methods: [...methods] })),
        policy: trafficPolicy(manifest),
      },
    });
    return answer.snapshotVersion;
  }

  #endpoints(replicas: readonly ReplicaRecord[]): MessageInitShape<typeof mesh.EndpointSchema>[] {
    const active = replicas.filter(({ phase }) => phase === "active");
    const ready = active.filter(({ id }) => this.#health.get(id)?.isHealthy);
    // None ready: probes may be what is broken, so whatever runs is kept (Envoy's panic threshold at 0).
    const running = active.filter(({ id }) => this.#health.get(id)?.replica?.state === agent.ReplicaState.RUNNING);
    const chosen = ready.length > 0 ? ready : running;
    const draining = replicas.filter(({ phase }) => phase === "draining");
    return [
      ...chosen.flatMap((replica) => this.#endpoint(replica, mesh.EndpointState.ACTIVE)),
      ...draining.flatMap((replica) => this.#endpoint(replica, mesh.EndpointState.DRAINING)),
    ];
  }

  #endpoint(
    { id, revision }: ReplicaRecord,
    state: mesh.EndpointState,
  ): MessageInitShape<typeof mesh.EndpointSchema>[] {
    const port = this.#health.get(id)?.replica?.port ?? 0;
    return port === 0 ? [] : [{ endpointId: id, host: "127.0.0.1", port, state, weight: 1000, revision }];
  }

  /** Resolves when no request runs on these replicas, or after the longest wait. */
  async drained(replicaIds: readonly string[], timeoutMs: number): Promise<Record<string, number>> {
    const { leftInFlight } = await this.#mesh.awaitDrained({
      endpointIds: [...replicaIds],
      timeoutMs: BigInt(timeoutMs),
    });
    return leftInFlight;
  }

  /** Takes the service out of the mesh. */
  async remove({ environment, service }: ServiceKey): Promise<void> {
    await this.#mesh.removeService({ environment, name: service });
  }

  /** How programs of an environment reach the mesh. */
  async access(environment: string): Promise<{ dnsAddress: string; proxyUrl: string }> {
    const { environment: found, proxyUrl } = await this.#mesh.describeEnvironment({ environment });
    return { dnsAddress: found?.dnsAddress ?? "", proxyUrl };
  }
}
