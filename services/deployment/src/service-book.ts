import { ChangeSignal } from "@hms/kernel";
import type { ReplicaRecord, RevisionRecord, ServiceKey, ServiceRecord } from "./service-record.ts";

/** The name under which a service is kept in memory. */
export const keyText = ({ environment, service }: ServiceKey): string => `${environment}/${service}`;

/** The service a replica's id names. */
export function keyOfReplica(replicaId: string): ServiceKey {
  const [environment = "", service = ""] = replicaId.split("/");
  return { environment, service };
}

/** What is meant to be, as the database says it: kept in memory so that traffic does not wait for the database. */
export class ServiceBook {
  /** Notified after each change. */
  readonly changes = new ChangeSignal();
  readonly #services = new Map<string, ServiceRecord>();
  readonly #listeners = new Set<(key: ServiceKey) => void>();
  readonly #held = new Set<string>();

  /** Every service. */
  all(): Iterable<ServiceRecord> {
    return this.#services.values();
  }

  get(key: ServiceKey): ServiceRecord | undefined {
    return this.#services.get(keyText(key));
  }

  /** Takes a service as the database has it now; undefined: it is gone. Passed over while somebody holds the service. */
  put(key: ServiceKey, record: ServiceRecord | undefined): void {
    if (!this.isHeld(key)) this.#take(key, record);
  }

  /** Takes a service as it is while the database is behind; from now on only who calls this says what it is. */
  hold(key: ServiceKey, record: ServiceRecord): void {
    this.#held.add(keyText(key));
    this.#take(key, record);
  }

  /** Lets the database say again what a service is: this. */
  release(key: ServiceKey, record: ServiceRecord | undefined): void {
    this.#held.delete(keyText(key));
    this.#take(key, record);
  }

  /** Whether the database is behind what is known of a service. */
  isHeld(key: ServiceKey): boolean {
    return this.#held.has(keyText(key));
  }

  #take(key: ServiceKey, record: ServiceRecord | undefined): void {
    if (record) this.#services.set(keyText(key), record);
    else this.#services.delete(keyText(key));
    for (const listener of this.#listeners) listener(key);
    this.changes.notify();
  }

  /** A replica that is meant to run or to go, with its revision. */
  replica(id: string): { replica: ReplicaRecord; revision: RevisionRecord | undefined } | undefined {
    const record = this.get(keyOfReplica(id));
    const replica = record?.replicas.find((each) => each.id === id);
    return replica && { replica, revision: record?.revisions.get(replica.revision) };
  }

  /** Calls back after each change of a service. */
  onChange(listener: (key: ServiceKey) => void): void {
    this.#listeners.add(listener);
  }
}
