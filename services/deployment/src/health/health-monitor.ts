import type { agent } from "@hms/contracts";
import { type HealthRule, ReplicaHealth } from "./replica-health.ts";

/** Follows every replica that is known; tells listeners which one changed. */
export class HealthMonitor {
  readonly #replicas = new Map<string, ReplicaHealth>();
  readonly #listeners = new Set<(replicaId: string) => void>();
  /** What the runtime has reported, also of replicas that nobody follows yet. */
  readonly #reported = new Map<string, agent.Replica>();

  /** Begins to follow a replica; twice is once. */
  follow(id: string, rule: HealthRule, assumed: boolean): ReplicaHealth {
    const known = this.#replicas.get(id);
    if (known) return known;
    const health = new ReplicaHealth(id, rule, { assumed, changed: () => this.#tell(id) });
    this.#replicas.set(id, health);
    const reported = this.#reported.get(id);
    if (reported) health.observe(reported);
    return health;
  }

  /** Takes the runtime's report of one replica. */
  observe(replica: agent.Replica, removed: boolean): void {
    const id = replica.spec?.replicaId ?? "";
    if (removed) this.#reported.delete(id);
    else this.#reported.set(id, replica);
    this.#replicas.get(id)?.observe(replica);
  }

  /** Ids of everything the runtime has. */
  reportedIds(): string[] {
    return [...this.#reported.keys()];
  }

  /** Ids of everything that is followed. */
  followedIds(): string[] {
    return [...this.#replicas.keys()];
  }

  get(id: string): ReplicaHealth | undefined {
    return this.#replicas.get(id);
  }

  /** Stops following a replica. */
  forget(id: string): void {
    this.#replicas.get(id)?.close();
    this.#replicas.delete(id);
  }

  /** Calls back after every change; answers with the unsubscriber. */
  onChange(listener: (replicaId: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(id: string): void {
    for (const listener of this.#listeners) listener(id);
  }

  /** Resolves when the check answers something, looking after every change and every 100 ms; rejects on abort. */
  until<T>(check: () => T | undefined, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const stop = () => {
        unsubscribe();
        clearInterval(timer);
        signal.removeEventListener("abort", onAbort);
      };
      const onAbort = () => {
        stop();
        reject(signal.reason);
      };
      const look = () => {
        try {
          const found = check();
          if (found === undefined) return;
          stop();
          resolve(found);
        } catch (error) {
          stop();
          reject(error);
        }
      };
      const unsubscribe = this.onChange(look);
      const timer = setInterval(look, 100);
      if (signal.aborted) return onAbort();
      signal.addEventListener("abort", onAbort, { once: true });
      look();
    });
  }

  /** Stops following everything. */
  close(): void {
    for (const id of [...this.#replicas.keys()]) this.forget(id);
  }
}
