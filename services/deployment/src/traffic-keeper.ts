import type { MessageInitShape } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { type Client, HmsError } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import { countsMatter } from "./gates/gate.ts";
import type { HealthKeeper } from "./health/health-keeper.ts";
import { meshRoute } from "./mesh-route.ts";
import { meshSplit } from "./mesh-split.ts";
import type { ObservedReplicas } from "./observed-replicas.ts";
import { type MeshAccess, trafficPolicy } from "./replica-spec.ts";
import { ruleOf } from "./scaling/auto-scaler.ts";
import { keyOfReplica, keyText, type ServiceBook } from "./service-book.ts";
import type { ServiceKey, ServiceRecord } from "./service-record.ts";
import { plannedEndpoints } from "./traffic-endpoints.ts";

type Entry = MessageInitShape<typeof mesh.MeshServiceEntrySchema>;

/** What a traffic keeper stands on. */
export interface TrafficParts {
  book: ServiceBook;
  observed: ObservedReplicas;
  health: HealthKeeper;
  mesh: Client<typeof mesh.MeshService>;
  log: Logger;
}

const CALL_MS = 10_000;
const AGAIN_MS = 500;

/** Keeps the mesh's picture of every service in step with what is meant to be and how its replicas do. */
export class TrafficKeeper {
  readonly #parts: TrafficParts;
  readonly #turns = new Map<string, Promise<bigint>>();
  readonly #due = new Set<string>();
  readonly #sent = new Map<string, string>();
  /** What ends calls that wait for a database which is away. */
  readonly #calls = new Map<string, AbortController>();
  #isOpen = false;

  constructor(parts: TrafficParts) {
    this.#parts = parts;
    parts.book.onChange((key) => this.#refresh(key));
    parts.health.onChange((id) => this.#refresh(keyOfReplica(id)));
  }

  /** Begins to follow changes: before everything that runs is known, nothing is taken out of the mesh. */
  open(): void {
    this.#isOpen = true;
    for (const record of this.#parts.book.all()) this.#refresh(record);
  }

  /** Stops following changes; the mesh keeps what it has. */
  close(): void {
    this.#isOpen = false;
  }

  /**
   * Gives the mesh the service's picture as it is now, calls for one service one after the other. Answers with the
   * snapshot that holds it, 0 if the service is not meant to be in the mesh.
   */
  publish(key: ServiceKey): Promise<bigint> {
    const name = keyText(key);
    if (this.#parts.book.isHeld(key)) this.#calls.get(name)?.abort();
    const turn = (this.#turns.get(name) ?? Promise.resolve(0n)).catch(() => 0n).then(() => this.#publish(key));
    this.#turns.set(name, turn);
    return turn;
  }

  /** The same, and resolves only when every data plane serves it; answers with how many there are. */
  async confirm(key: ServiceKey, signal: AbortSignal): Promise<number> {
    const snapshotVersion = await this.publish(key);
    if (snapshotVersion === 0n) return 0;
    return (await this.#parts.mesh.awaitApplied({ snapshotVersion }, { signal })).nodes;
  }

  /** How many requests still ran on these replicas when the wait was over. */
  async drained(ids: readonly string[], { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal }) {
    if (ids.length === 0) return 0;
    const request = { endpointIds: [...ids], timeoutMs: BigInt(Math.max(1, Math.round(timeoutMs))) };
    try {
      const { leftInFlight } = await this.#parts.mesh.awaitDrained(request, { signal });
      return Object.values(leftInFlight).reduce((sum, count) => sum + count, 0);
    } catch (error) {
      // A data plane that does not say has had its time; it has confirmed that nothing new goes there.
      if (HmsError.from(error).details.reason === "NODES_BEHIND") return 0;
      throw error;
    }
  }

  /** Takes a service out of the mesh, confirmed by the data planes. */
  async remove(key: ServiceKey, signal: AbortSignal): Promise<void> {
    const { mesh: client } = this.#parts;
    const { environment, service: name } = key;
    const { snapshotVersion } = await client.removeService({ environment, name }, { signal, timeoutMs: CALL_MS });
    this.#sent.delete(keyText(key));
    await client.awaitApplied({ snapshotVersion }, { signal });
  }

  /** How programs of an environment reach the mesh. */
  async access(environment: string): Promise<MeshAccess> {
    const answer = await this.#parts.mesh.describeEnvironment({ environment }, { timeoutMs: CALL_MS });
    return { dnsAddress: answer.environment?.dnsAddress ?? "", proxyUrl: answer.proxyUrl };
  }

  /** The endpoints of a service that get requests, as the mesh has them. */
  async activeEndpoints({ environment, service }: ServiceKey): Promise<mesh.Endpoint[]> {
    const { content } = await this.#parts.mesh.getSnapshot({}, { timeoutMs: CALL_MS });
    const entry = content?.services.find((each) => each.environment === environment && each.name === service);
    return (entry?.endpoints ?? []).filter(({ state }) => state === mesh.EndpointState.ACTIVE);
  }

  async #publish(key: ServiceKey): Promise<bigint> {
    const record = this.#parts.book.get(key);
    const entry = record && this.#entry(record);
    if (entry === undefined) return 0n;
    const { snapshotVersion } = await this.#set(key, entry);
    this.#sent.set(keyText(key), fingerprint(entry));
    return snapshotVersion;
  }

  /** Where the database is behind, the mesh need not wait for it either. */
  async #set(key: ServiceKey, service: Entry): Promise<{ snapshotVersion: bigint }> {
    const { mesh: client, book } = this.#parts;
    if (book.isHeld(key)) return client.setService({ service, evenUnstored: true }, { timeoutMs: CALL_MS });
    const name = keyText(key);
    const call = new AbortController();
    this.#calls.set(name, call);
    try {
      return await client.setService({ service }, { timeoutMs: CALL_MS, signal: call.signal });
    } finally {
      if (this.#calls.get(name) === call) this.#calls.delete(name);
    }
  }

  #entry(record: ServiceRecord): Entry | undefined {
    const manifest = record.revisions.get(record.trafficRevision)?.manifest;
    if (manifest === undefined) return undefined;
    const { observed, health } = this.#parts;
    const replicas = record.replicas.map((replica) => {
      const port = observed.get(replica.id)?.port ?? 0;
      return { ...replica, port, health: health.of(replica.id) };
    });
    const { ACTIVE, DRAINING } = mesh.EndpointState;
    return {
      environment: record.environment,
      name: record.service,
      ports: manifest.port === undefined ? [] : [manifest.port],
      endpoints: plannedEndpoints(replicas).map(({ id, revision, port, state }) => ({
        endpointId: id,
        host: "127.0.0.1",
        port,
        state: state === "active" ? ACTIVE : DRAINING,
        weight: 1000,
        revision: BigInt(revision),
      })),
      expectsReplicas: expectsReplicas(record),
      wakeTimeoutMs: BigInt(wakeTimeoutMs(record)),
      ...splitOf(record),
      observed: [...record.revisions.values()].some((revision) => countsMatter(revision.manifest)),
      routes: manifest.routes.map(meshRoute),
      policy: trafficPolicy(manifest),
    };
  }

  /** Tells the mesh of a change in the next moment, once for all changes until then; repeated until it succeeds. */
  #refresh(key: ServiceKey, inMs = 0): void {
    const name = keyText(key);
    if (!this.#isOpen || this.#due.has(name)) return;
    this.#due.add(name);
    setTimeout(() => {
      this.#due.delete(name);
      const record = this.#parts.book.get(key);
      const entry = record && this.#entry(record);
      if (!this.#isOpen || entry === undefined || this.#sent.get(name) === fingerprint(entry)) return;
      this.publish(key).catch((error: unknown) => {
        this.#parts.log.warn("the mesh was not told of a change yet", { ...key, error });
        this.#refresh(key, AGAIN_MS);
      });
    }, inMs).unref();
  }
}

/** Whether requests wait for a replica: one is meant to take them, or their coming starts one. */
function expectsReplicas(record: ServiceRecord): boolean {
  const { wanted, asleep, replicas, running } = record;
  if (asleep) return true;
  if (wanted === 0) return false;
  // What falls asleep has given up its replicas before it is asleep.
  const fallsAsleep = running?.kind === "scale" && wakeTimeoutMs(record) > 0;
  return fallsAsleep || replicas.some(({ traffic }) => traffic === "active");
}

/** How long a request may wait for the replica that it starts; 0: it starts none. */
function wakeTimeoutMs(record: ServiceRecord): number {
  const { wanted, asleep, scaledTo } = record;
  const rule = ruleOf(record);
  if (rule === undefined || rule.min > 0 || scaledTo !== undefined || (wanted === 0 && !asleep)) return 0;
  return record.revisions.get(record.currentRevision)?.manifest.health.startTimeoutMs ?? 0;
}

/** While two versions serve side by side. */
function splitOf({ split, revisions }: ServiceRecord): Pick<Entry, "split"> {
  const tried = split && revisions.get(split.revision)?.manifest;
  return split && tried ? { split: meshSplit(split, tried) } : {};
}

/** The same text for the same picture. */
function fingerprint(entry: Entry): string {
  return JSON.stringify(entry, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
}
