import { create, equals } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { mesh } from "@hms/contracts";
import { ENVIRONMENT_COUNT, lowestFree, VIP_COUNT, vipOf } from "./address-plan.ts";
import { addressesExhausted, environmentStays, environmentsExhausted } from "./errors.ts";
import { sealContent, type Traffic } from "./snapshot-content.ts";
import type { MeshStore, ServiceKey, StoredSnapshot, TrafficTransaction } from "./store.ts";
import { checkConflicts, isFor } from "./traffic-conflicts.ts";
import { lackedBy, type UnstoredTraffic, type Waiting } from "./unstored-traffic.ts";

/** What a change has led to. */
export interface Committed {
  /** The newest snapshot: the one with the change, or the one that had it already. */
  snapshot: mesh.Snapshot;
  /** What was not stored before, and is now. */
  taken?: Waiting;
}

/** The one that every installation has. */
const DEFAULT_ENVIRONMENT = "default";

type Edit = (transaction: TrafficTransaction, traffic: Traffic) => Promise<Traffic>;

function inOrder(a: mesh.MeshServiceEntry, b: mesh.MeshServiceEntry): number {
  if (a.environment !== b.environment) return a.environment < b.environment ? -1 : 1;
  return a.name < b.name ? -1 : 1;
}

/**
 * Changes traffic, each change one commit. Whatever is asked for twice changes nothing the second time: a new snapshot
 * version comes only with another content.
 */
export class TrafficChanges {
  readonly #store: MeshStore;
  readonly #vipPrefix: string;
  readonly #published: () => bigint;
  readonly #unstored: UnstoredTraffic | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** `published` is the newest version that data planes may have from us; `unstored` what they have before the store. */
  constructor(
    store: MeshStore,
    vipPrefix: string,
    { published, unstored }: { published: () => bigint; unstored?: UnstoredTraffic | undefined },
  ) {
    this.#store = store;
    this.#vipPrefix = vipPrefix;
    this.#published = published;
    this.#unstored = unstored;
  }

  /** The newest snapshot; a new one if the rows no longer say what it says (first start, another address range). */
  refresh(): Promise<Committed> {
    return this.#edit(async (_, traffic) => traffic);
  }

  /** Makes sure that an environment exists. */
  ensureEnvironment(name: string): Promise<Committed> {
    return this.#edit((transaction, traffic) => withEnvironment(transaction, traffic, name));
  }

  /**
   * Replaces a service's whole picture, in its normal form; answers with its address too.
   * @throws HmsError ALREADY_EXISTS if another service has one of its routes or endpoints.
   */
  async setService(picture: mesh.MeshServiceEntry): Promise<Committed & { vip: string }> {
    let slot = 0;
    const committed = await this.#edit(async (transaction, before) => {
      const standing = before.services.find((service) => isFor(picture)(service.picture));
      if (standing && equals(mesh.MeshServiceEntrySchema, standing.picture, picture)) {
        slot = standing.slot;
        return before;
      }
      const others = before.services.map((other) => other.picture);
      checkConflicts(picture, others);
      const placed = await this.#place(transaction, before, picture);
      slot = placed.slot;
      return placed.traffic;
    });
    return { ...committed, vip: vipOf(this.#vipPrefix, slot) };
  }

  /** Takes a service out; without it already, nothing happens. */
  removeService(key: ServiceKey): Promise<Committed> {
    return this.#edit(async (transaction, traffic) => {
      await transaction.deleteService(key);
      return { ...traffic, services: traffic.services.filter(({ picture }) => !isFor(key)(picture)) };
    });
  }

  /**
   * Takes an environment without services out; without it already, nothing happens. Nor when its turn comes after whoever
   * asked has given up: by then it may be wanted again.
   * @throws HmsError FAILED_PRECONDITION if it has services, or is "default"
   */
  removeEnvironment(name: string, signal: AbortSignal): Promise<Committed> {
    return this.#edit(async (transaction, traffic) => {
      signal.throwIfAborted();
      const count = traffic.services.filter(({ picture }) => picture.environment === name).length;
      if (name === DEFAULT_ENVIRONMENT || count > 0) throw environmentStays(name, count);
      await transaction.deleteEnvironment(name);
      return { ...traffic, environments: traffic.environments.filter((environment) => environment.name !== name) };
    });
  }

  /** One after the other: waiting here costs a promise, waiting for the lock a database connection. */
  #edit(edit: Edit): Promise<Committed> {
    const done = this.#last.then(() => this.#commit(edit));
    this.#last = done.catch(() => {});
    return done;
  }

  async #place(transaction: TrafficTransaction, before: Traffic, picture: mesh.MeshServiceEntry) {
    const traffic = await withEnvironment(transaction, before, picture.environment);
    const others = traffic.services.filter((service) => !isFor(picture)(service.picture));
    const slot = await transaction.placeOf(picture, VIP_COUNT);
    if (slot >= VIP_COUNT) throw addressesExhausted(this.#vipPrefix);
    await transaction.putService(picture);
    const services = [...others, { picture, slot }].sort((a, b) => inOrder(a.picture, b.picture));
    return { slot, traffic: { ...traffic, services } };
  }

  #commit(edit: Edit): Promise<Committed> {
    const waiting = this.#unstored?.waiting;
    return this.#store.change(async (transaction) => {
      const newest = await transaction.lockNewest();
      let before = await transaction.read();
      // What data planes have got meanwhile comes first, in the same commit.
      for (const picture of lackedBy(newest.version, waiting)) {
        before = (await this.#place(transaction, before, picture)).traffic;
      }
      const traffic = await edit(transaction, before);
      const sealed = sealContent(traffic, this.#vipPrefix);
      // A database that was restored or failed over may have forgotten what we published: its numbers are not used again.
      const published = this.#published();
      const forgot = newest.version < published;
      const same = newest.version > 0n && !forgot && Buffer.compare(newest.sha256, sealed.sha256) === 0;
      const taken = waiting ? { taken: waiting } : {};
      if (same) return { snapshot: toMessage(newest), ...taken };
      const version = (forgot ? published : newest.version) + 1n;
      return { snapshot: toMessage(await transaction.saveNewest({ ...sealed, version })), ...taken };
    });
  }
}

async function withEnvironment(transaction: TrafficTransaction, traffic: Traffic, name: string): Promise<Traffic> {
  const { environments } = traffic;
  if (environments.some((environment) => environment.name === name)) return traffic;
  const slot = lowestFree(environments.map((environment) => environment.slot));
  if (slot >= ENVIRONMENT_COUNT) throw environmentsExhausted();
  await transaction.addEnvironment({ name, slot });
  return { ...traffic, environments: [...environments, { name, slot }].sort((a, b) => a.slot - b.slot) };
}

function toMessage({ version, content, sha256, createdAt }: StoredSnapshot): mesh.Snapshot {
  return create(mesh.SnapshotSchema, { version, content, sha256, createdAt: timestampFromDate(createdAt) });
}
