import { ChangeSignal, HmsError } from "@hms/kernel";
import type { TicketRevocation } from "@hms/tickets";
import { WaitingRevocations } from "./access/revocation-event.ts";
import { keyText, type ServiceKey } from "./service-key.ts";
import type { Listed } from "./service-listing.ts";

/** A service version as it is now; without an entry it has gone. */
export interface Change {
  key: ServiceKey;
  entry: Listed["entry"] | undefined;
  revoked?: undefined;
}

/** Tickets that are worth nothing any more. */
export interface Revoked {
  revoked: TicketRevocation;
  key?: undefined;
  entry?: undefined;
}

/** Reads how services are now; those that have gone are left out. */
export type ReadServices = (keys: readonly ServiceKey[]) => Promise<Listed[]>;

/** One watch: the newest state of each service that changed since it was last asked. */
export class Subscription {
  readonly #matches: (key: ServiceKey) => boolean;
  readonly #pending = new Map<string, Change>();
  readonly #revocations = new WaitingRevocations();
  readonly #changes = new ChangeSignal();
  #failure: HmsError | undefined;

  constructor(matches: (key: ServiceKey) => boolean) {
    this.#matches = matches;
  }

  /** Takes a change if it concerns this watch; an older one of the same service is dropped. */
  offer(change: Change): void {
    if (!this.#matches(change.key)) return;
    this.#pending.set(keyText(change.key), change);
    this.#changes.notify();
  }

  /** Takes a revocation, whichever services are watched: callers hear of it too. */
  revoke(revocation: TicketRevocation): void {
    this.#revocations.add(revocation);
    this.#changes.notify();
  }

  /** Ends the watch: its reader has to start anew. */
  fail(failure: HmsError): void {
    this.#failure = failure;
    this.#changes.notify();
  }

  /**
   * The next revocation or change, changes in the order in which services first changed.
   * @throws HmsError why the watch ended; the signal's reason once it aborts.
   */
  async next(signal: AbortSignal): Promise<Change | Revoked> {
    for (;;) {
      if (this.#failure) throw this.#failure;
      const revoked = this.#revocations.take();
      if (revoked) return { revoked };
      for (const [text, change] of this.#pending) {
        this.#pending.delete(text);
        return change;
      }
      await this.#changes.next(signal);
    }
  }
}

/**
 * Tells watches what changed. Changes are read once for all watches, together, after they were committed; while one
 * reading is under way, further changes gather for the next.
 */
export class WatchHub {
  readonly #read: ReadServices;
  readonly #subscriptions = new Set<Subscription>();
  readonly #dirty = new Map<string, ServiceKey>();
  /** Settles when what is dirty now has been offered. */
  #offered = Promise.withResolvers<void>();
  #flushing: Promise<void> | undefined;

  constructor(read: ReadServices) {
    this.#read = read;
  }

  /** Begins a watch that ends when the signal aborts or `leave` is called. */
  subscribe(
    matches: (key: ServiceKey) => boolean,
    signal: AbortSignal,
  ): { subscription: Subscription; leave: () => void } {
    const subscription = new Subscription(matches);
    this.#subscriptions.add(subscription);
    const leave = () => void this.#subscriptions.delete(subscription);
    // A reader in this process may abort and never ask for more: then its stream never comes to its end.
    signal.addEventListener("abort", leave, { once: true });
    return { subscription, leave };
  }

  /** Says that these have changed; settles when every watch has been offered it, or has failed for want of it. */
  async touch(keys: readonly ServiceKey[]): Promise<void> {
    if (this.#subscriptions.size === 0) return;
    for (const key of keys) this.#dirty.set(keyText(key), key);
    const { promise } = this.#offered;
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = undefined;
    });
    await promise;
  }

  /** Tells every watch of a revocation. */
  revoke(revocation: TicketRevocation): void {
    for (const subscription of this.#subscriptions) subscription.revoke(revocation);
  }

  /** Settles when everything touched so far has been offered. */
  async settled(): Promise<void> {
    await this.#flushing;
  }

  async #flush(): Promise<void> {
    let offered = this.#offered;
    try {
      while (this.#dirty.size > 0) {
        const keys = [...this.#dirty.values()];
        this.#dirty.clear();
        offered = this.#offered;
        this.#offered = Promise.withResolvers();
        const found = new Map((await this.#read(keys)).map(({ key, entry }) => [keyText(key), entry]));
        for (const key of keys) this.#offer({ key, entry: found.get(keyText(key)) });
        offered.resolve();
      }
    } catch (error) {
      // Who missed a change must not go on as if nothing had happened.
      this.#dirty.clear();
      for (const subscription of this.#subscriptions) subscription.fail(HmsError.from(error));
      for (const waiting of [offered, this.#offered]) waiting.resolve();
      this.#offered = Promise.withResolvers();
    }
  }

  #offer(change: Change): void {
    for (const subscription of this.#subscriptions) subscription.offer(change);
  }
}
