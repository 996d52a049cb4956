import { HmsError } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import type { HealthMonitor } from "./health/health-monitor.ts";
import type { DeploymentRuntime } from "./ports.ts";
import type { ReplicaRecord } from "./records.ts";
import { healthRule, replicaSpec } from "./replica-spec.ts";
import type { DeploymentStore } from "./store.ts";
import type { Traffic } from "./traffic.ts";

/** What a reconciler compares and mends. */
export interface ReconcilerParts {
  store: DeploymentStore;
  runtime: DeploymentRuntime;
  traffic: Traffic;
  health: HealthMonitor;
  log: Logger;
}

const SWEEP_MS = 10_000;

/** Keeps what runs in step with what is on record: starts what is missing, ends what nobody wants, follows health. */
export class Reconciler {
  readonly #parts: ReconcilerParts;
  readonly #end = new AbortController();
  #sweep: NodeJS.Timeout | undefined;
  #unsubscribe = () => {};

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
  }

  /** Resolves once everything that the runtime has is known and followed. */
  async start(): Promise<void> {
    await this.#followAll(true);
    await new Promise<void>((resolve) => void this.#watch(resolve));
    await this.#mend();
    this.#unsubscribe = this.#parts.health.onChange((id) => this.#onHealth(id));
    // What changed before anybody listened has to reach the mesh, too: an earlier picture may say that nothing runs.
    for (const id of this.#parts.health.followedIds()) this.#onHealth(id);
    this.#sweep = setInterval(
      () => void this.#mend().catch((error) => this.#parts.log.warn("the sweep failed; it comes again", { error })),
      SWEEP_MS,
    );
  }

  async #followAll(assumed: boolean): Promise<ReplicaRecord[]> {
    const { store, health } = this.#parts;
    const replicas = await store.replicas();
    for (const replica of replicas) {
      if (health.get(replica.id)) continue;
      const revision = await store.revision(replica, replica.revision);
      if (revision) health.follow(replica.id, healthRule(revision.manifest), assumed && replica.phase === "active");
    }
    return replicas;
  }

  async #watch(synced: () => void): Promise<void> {
    const { runtime, health, log } = this.#parts;
    try {
      for await (const message of runtime.watchReplicas(this.#end.signal)) {
        if (message.replica) health.observe(message.replica, message.removed);
        if (message.synced) synced();
      }
    } catch (error) {
      if (!this.#end.signal.aborted) log.error("replicas are not watched any more", { error });
    }
  }

  #onHealth(id: string): void {
    const [environment = "", service = ""] = id.split("/");
    this.#parts.traffic.refresh({ environment, service });
  }

  /** Starts what is on record and does not run, ends what runs and is on no record. */
  async #mend(): Promise<void> {
    const { runtime, health, log } = this.#parts;
    const replicas = await this.#followAll(false);
    const wanted = new Set(replicas.map(({ id }) => id));
    const present = new Set(health.reportedIds());
    for (const replica of replicas) {
      if (!present.has(replica.id) && replica.phase === "active") await this.#startAgain(replica);
    }
    for (const id of present) {
      if (wanted.has(id) || (await this.#isOnRecord(id))) continue;
      log.warn("a replica that nobody wants is ended", { replicaId: id });
      await runtime.stopReplica(id);
    }
  }

  /** A rollout may have recorded it since the list was read. */
  async #isOnRecord(id: string): Promise<boolean> {
    return (await this.#parts.store.replicas()).some((replica) => replica.id === id);
  }

  async #startAgain(replica: ReplicaRecord): Promise<void> {
    const { store, runtime, traffic, health, log } = this.#parts;
    const revision = await store.revision(replica, replica.revision);
    if (revision === undefined) return;
    try {
      const access = await traffic.access(replica.environment);
      health.get(replica.id)?.observe(await runtime.startReplica(replicaSpec(replica.id, revision, access)));
      log.info("a replica that was missing is started again", { replicaId: replica.id });
    } catch (error) {
      log.warn("a replica that is missing could not be started; it is tried again", {
        replicaId: replica.id,
        error: HmsError.from(error),
      });
    }
  }

  /** Stops comparing; what runs goes on. */
  close(): void {
    this.#end.abort(new HmsError("CANCELLED", "The server stops."));
    clearInterval(this.#sweep);
    this.#unsubscribe();
  }
}
