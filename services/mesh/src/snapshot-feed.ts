import type { mesh } from "@hms/contracts";

import { ChangeSignal, type HmsError } from "@hms/kernel";

/** The snapshot that a reader has. */
export interface KnownSnapshot {
  /** 0 if it has none. */
  version: bigint;
  /** Of its content; empty if the reader cannot say. */
  sha256: Uint8Array;
}

/** True if the reader has exactly this snapshot: the same number with another content belongs to another history. */
export function isKnown(snapshot: mesh.Snapshot, known: KnownSnapshot): boolean {
  if (snapshot.version !== known.version) return false;
  return known.sha256.length === 0 || Buffer.compare(known.sha256, snapshot.sha256) === 0;
}

/** The newest snapshot, for any number of readers who share its bytes; who reads slowly misses what is out of date. */
export class SnapshotFeed {
  readonly #changes = new ChangeSignal();
  #newest: mesh.Snapshot | undefined;
  #failure: HmsError | undefined;

  /** The newest snapshot; undefined until the first is published. */
  get newest(): mesh.Snapshot | undefined {
    return this.#newest;
  }

  /** Offers a snapshot; one that is no newer is passed over. */
  publish(snapshot: mesh.Snapshot): void {
    if (this.#newest && snapshot.version <= this.#newest.version) return;
    this.#newest = snapshot;
    this.#changes.notify();
  }

  /** Says why there is no first snapshot, to all who wait for it; one that comes later is welcome. */
  fail(failure: HmsError): void {
    this.#failure = failure;
    this.#changes.notify();
  }

  /**
   * The newest snapshot; waits for the first one.
   * @throws HmsError why there will be none; the signal's reason once it aborts.
   */
  async current(signal: AbortSignal): Promise<mesh.Snapshot> {
    for (;;) {
      if (this.#newest) return this.#newest;
      if (this.#failure) throw this.#failure;
      await this.#changes.next(signal);
    }
  }

  /**
   * The newest snapshot unless it is known, then each one that is the newest when the reader asks for more; each as `shape`
   * makes it for this reader.
   */
  async *follow(
    known: KnownSnapshot,
    signal: AbortSignal,
    shape: (snapshot: mesh.Snapshot) => mesh.Snapshot = (snapshot) => snapshot,
  ): AsyncGenerator<mesh.Snapshot> {
    let last = await this.current(signal);
    const first = shape(last);
    if (!isKnown(first, known)) yield first;
    for (;;) {
      // Nothing may be awaited between the comparison and the wait, or a change in between would be missed.
      const newest = this.#newest;
      if (newest === undefined || newest === last) await this.#changes.next(signal);
      else {
        last = newest;
        yield shape(newest);
      }
    }
  }
}
