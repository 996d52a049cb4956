import { ChangeSignal } from "@hms/kernel";
import { instanceOf, type ObservedReplicas } from "../observed-replicas.ts";
import { healthRule } from "../replica-spec.ts";
import type { ServiceBook } from "../service-book.ts";
import type { ServiceKey } from "../service-record.ts";
import { type ReplicaHealth, unknownHealth } from "./replica-health.ts";
import { ReplicaProber } from "./replica-prober.ts";

/** Looks at every replica that is meant to run, for as long as it is. */
export class HealthKeeper {
  /** Notified whenever a verdict changes. */
  readonly changes = new ChangeSignal();
  readonly #book: ServiceBook;
  readonly #observed: ObservedReplicas;
  readonly #probers = new Map<string, ReplicaProber>();
  readonly #listeners = new Set<(id: string, health: ReplicaHealth) => void>();

  constructor(book: ServiceBook, observed: ObservedReplicas) {
    this.#book = book;
    this.#observed = observed;
    book.onChange((key) => this.#followService(key));
    observed.onChange((id) => this.#observe(id));
  }

  /** What is known of a replica. */
  of(id: string): ReplicaHealth {
    return this.#probers.get(id)?.health ?? unknownHealth;
  }

  /** The replicas that pass their checks. */
  readyIds(): Set<string> {
    const ready = [...this.#probers].filter(([, { health }]) => health.state === "ready");
    return new Set(ready.map(([id]) => id));
  }

  /** How long a replica has been ready without a break, 0 if it is not. */
  readyForMs(id: string): number {
    const { state, since } = this.of(id);
    return state === "ready" ? Math.max(0, Date.now() - since) : 0;
  }

  /** Calls back whenever a verdict changes. */
  onChange(listener: (id: string, health: ReplicaHealth) => void): void {
    this.#listeners.add(listener);
  }

  #followService(key: ServiceKey): void {
    const record = this.#book.get(key);
    const wanted = new Set<string>();
    for (const replica of record?.replicas ?? []) {
      const revision = record?.revisions.get(replica.revision);
      if (replica.phase !== "running" || revision === undefined) continue;
      wanted.add(replica.id);
      if (this.#probers.has(replica.id)) continue;
      const prober = new ReplicaProber(healthRule(revision.manifest), (health) => this.#tell(replica.id, health));
      this.#probers.set(replica.id, prober);
      this.#observe(replica.id);
    }
    const prefix = `${key.environment}/${key.service}/`;
    for (const [id, prober] of this.#probers) {
      if (!id.startsWith(prefix) || wanted.has(id)) continue;
      prober.close();
      this.#probers.delete(id);
    }
  }

  #observe(id: string): void {
    const replica = this.#observed.get(id);
    const proven = this.#book.replica(id)?.replica.proven ?? "";
    this.#probers.get(id)?.observe({ instance: instanceOf(replica), port: replica?.port ?? 0, proven });
  }

  #tell(id: string, health: ReplicaHealth): void {
    for (const listener of this.#listeners) listener(id, health);
    this.changes.notify();
  }

  /** Stops looking. */
  close(): void {
    for (const prober of this.#probers.values()) prober.close();
    this.#probers.clear();
  }
}
