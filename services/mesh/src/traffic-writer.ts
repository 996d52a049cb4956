import { setTimeout as delay } from "node:timers/promises";
import type { mesh } from "@hms/contracts";
import { type CallContext, HmsError } from "@hms/kernel";
import { retryWhileUnavailable } from "@hms/postgres";
import type { SnapshotFeed } from "./snapshot-feed.ts";
import type { ServiceKey } from "./store.ts";
import type { Committed, TrafficChanges } from "./traffic-changes.ts";
import type { UnstoredTraffic } from "./unstored-traffic.ts";

/** How long a change without a deadline waits for PostgreSQL. */
const PATIENCE_MS = 10_000;
/** What need not be stored at once waits this long for PostgreSQL. */
const SHORT_PATIENCE_MS = 1_500;
const AGAIN_MS = 500;

/** Who waits for a change, and for how long. */
type Waiter = Pick<CallContext, "signal" | "remainingMs">;

/**
 * Commits changes and publishes what they lead to. Every change may safely be made twice, so each is tried again while
 * PostgreSQL is away, until the call's deadline (10 s without one).
 */
export class TrafficWriter {
  readonly #changes: TrafficChanges;
  readonly #feed: SnapshotFeed;
  readonly #stopping: AbortSignal;
  readonly #unstored: UnstoredTraffic | undefined;
  #refreshing: Promise<void> | undefined;

  constructor(parts: {
    changes: TrafficChanges;
    feed: SnapshotFeed;
    stopping: AbortSignal;
    unstored?: UnstoredTraffic | undefined;
  }) {
    this.#changes = parts.changes;
    this.#feed = parts.feed;
    this.#stopping = parts.stopping;
    this.#unstored = parts.unstored;
  }

  /** Sets a service's picture. */
  setService(picture: mesh.MeshServiceEntry, context: Waiter): Promise<Committed & { vip: string }> {
    return this.#write(() => this.#changes.setService(picture), context);
  }

  /** The same; where PostgreSQL does not answer soon, the picture is published all the same, and stored when it does. */
  async setEvenUnstored(
    picture: mesh.MeshServiceEntry,
    context: CallContext,
  ): Promise<Committed & { vip: string; unstored: boolean }> {
    const unstored = this.#unstored;
    if (unstored === undefined) return { ...(await this.setService(picture, context)), unstored: false };
    if (unstored.waiting === undefined) {
      const signal = AbortSignal.any([context.signal, AbortSignal.timeout(SHORT_PATIENCE_MS)]);
      const soon = this.setService(picture, { signal, remainingMs: SHORT_PATIENCE_MS });
      const stored = await Promise.race([soon.catch(awayOrThrow), aborted(signal)]);
      if (stored) return { ...stored, unstored: false };
    }
    context.throwIfEnded();
    const published = await unstored.set(picture);
    void this.refresh();
    return { ...published, unstored: true };
  }

  /** Takes a service out. */
  removeService(key: ServiceKey, context: Waiter): Promise<Committed> {
    return this.#write(() => this.#changes.removeService(key), context);
  }

  /** Takes an environment without services out. */
  removeEnvironment(name: string, context: Waiter): Promise<Committed> {
    return this.#write(() => this.#changes.removeEnvironment(name, context.signal), context);
  }

  /** Makes sure that an environment exists. */
  ensureEnvironment(name: string, context: Waiter): Promise<Committed> {
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
    do {
      try {
        const retry = { signal: this.#stopping, deadlineMs: Number.POSITIVE_INFINITY };
        await this.#publish(await retryWhileUnavailable(() => this.#changes.refresh(), retry));
      } catch (error) {
        if (this.#stopping.aborted) return;
        this.#feed.fail(HmsError.from(error));
        await delay(AGAIN_MS, undefined, { signal: this.#stopping }).catch(() => {});
      }
    } while (this.#unstored?.waiting !== undefined && !this.#stopping.aborted);
  }

  async #publish({ snapshot, taken }: Committed): Promise<void> {
    await this.#unstored?.keep(snapshot);
    this.#feed.publish(snapshot);
    if (taken) await this.#unstored?.stored(taken);
  }

  async #write<T extends Committed>(change: () => Promise<T>, context: Waiter): Promise<T> {
    const signal = AbortSignal.any([context.signal, this.#stopping]);
    try {
      const deadlineMs = context.remainingMs ?? PATIENCE_MS;
      const committed = await retryWhileUnavailable(change, { signal, deadlineMs });
      await this.#publish(committed);
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

/** Nothing if PostgreSQL is away. */
function awayOrThrow(error: unknown): undefined {
  const { code } = HmsError.from(error);
  if (code === "UNAVAILABLE" || code === "DEADLINE_EXCEEDED" || code === "CANCELLED") return undefined;
  throw error;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
