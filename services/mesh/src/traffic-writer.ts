import type { mesh } from "@hms/contracts";
import { type CallContext, HmsError } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import type { SnapshotFeed } from "./snapshot-feed.ts";
import type { ServiceKey } from "./store.ts";
import type { Committed, TrafficChanges } from "./traffic-changes.ts";

/** How long a change without a deadline waits for PostgreSQL. */
const PATIENCE_MS = 10_000;

/**
 * Commits changes and publishes what they lead to. Every change may safely be made twice, so each is tried again while
 * PostgreSQL is away, until the call's deadline (10 s without one).
 */
export class TrafficWriter {
  readonly #changes: TrafficChanges;
  readonly #feed: SnapshotFeed;
  readonly #stopping: AbortSignal;
  #refreshing: Promise<void> | undefined;

  constructor(changes: TrafficChanges, feed: SnapshotFeed, stopping: AbortSignal) {
    this.#changes = changes;
    this.#feed = feed;
    this.#stopping = stopping;
  }

  /** Sets a service's picture. */
  setService(picture: mesh.MeshServiceEntry, context: CallContext): Promise<Committed & { vip: string }> {
    return this.#write(() => this.#changes.setService(picture), context);
  }

  /** Takes a service out. */
  removeService(key: ServiceKey, context: CallContext): Promise<Committed> {
    return this.#write(() => this.#changes.removeService(key), context);
  }

  /** Makes sure that an environment exists. */
  ensureEnvironment(name: string, context: CallContext): Promise<Committed> {
    return this.#write(() => this.#changes.ensureEnvironment(name), context);
  }

  /** Publishes the newest snapshot that PostgreSQL has, as soon as it answers; settles then, or when the service stops. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refreshUntilDone().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** Settles when no refresh is under way. */
  async settled(): Promise<void> {
    await this.#refreshing;
  }

  async #refreshUntilDone(): Promise<void> {
    try {
      const retry = { signal: this.#stopping, deadlineMs: Number.POSITIVE_INFINITY };
      const { snapshot } = await retryWhileUnavailable(() => this.#changes.refresh(), retry);
      this.#feed.publish(snapshot);
    } catch (error) {
      if (!this.#stopping.aborted) this.#feed.fail(HmsError.from(error));
    }
  }

  async #write<T extends Committed>(change: () => Promise<T>, context: CallContext): Promise<T> {
    const signal = AbortSignal.any([context.signal, this.#stopping]);
    try {
      const deadlineMs = context.remainingMs ?? PATIENCE_MS;
      const committed = await retryWhileUnavailable(change, { signal, deadlineMs });
      this.#feed.publish(committed.snapshot);
      return committed;
    } catch (error) {
      const failure = HmsError.from(signal.aborted ? signal.reason : error);
      // A commit whose answer was lost has happened: what it led to is published when PostgreSQL is back.
      if (failure.code === "UNAVAILABLE" || failure.code === "CANCELLED" || failure.code === "DEADLINE_EXCEEDED") {
        void this.refresh();
      }
      throw failure;
    }
  }
}
