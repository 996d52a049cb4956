import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import type { Logger } from "@hms/telemetry";
import { checkedContent } from "./snapshot-file.ts";
import type { SnapshotStore } from "./snapshot-store.ts";

/** What a holder works with. */
export interface SnapshotHolderOptions {
  store: SnapshotStore;
  /** Sends traffic by this content from now on; throws, having changed nothing, if it contradicts itself. */
  apply: (content: mesh.SnapshotContent) => void;
  log: Logger;
}

/** The snapshot that is served, and its copy on disk. */
export class SnapshotHolder {
  readonly #options: SnapshotHolderOptions;
  readonly #problems = new Set<string>();
  #snapshot: mesh.Snapshot | undefined;
  #content = create(mesh.SnapshotContentSchema);
  #isReadOnly = false;

  constructor(options: SnapshotHolderOptions) {
    this.#options = options;
  }

  /** What is served; undefined before the first snapshot. */
  get snapshot(): mesh.Snapshot | undefined {
    return this.#snapshot;
  }

  /** Its content; empty before the first snapshot. */
  get content(): mesh.SnapshotContent {
    return this.#content;
  }

  /** Its version; 0 before the first snapshot. */
  get version(): bigint {
    return this.#snapshot?.version ?? 0n;
  }

  /** What is wrong with the copies on disk. */
  get problems(): string[] {
    return [...this.#problems];
  }

  /** Serves the newest generation on disk that can be used, and says which could not. */
  load(): void {
    const { store, log } = this.#options;
    const { used, spoilt } = store.load((snapshot) => this.#use(snapshot));
    for (const reason of spoilt) log.error("a snapshot on disk cannot be used", { reason });
    if (spoilt.length === 0) return;
    const instead = used ? `version ${this.version} is served` : "nothing is served until the server sends one";
    this.#problems.add(`snapshots on disk cannot be used (${spoilt.join("; ")}): ${instead}`);
    log.warn(instead);
  }

  /** Serves this snapshot from now on and keeps it on disk. Throws, and serves on what was, if it cannot be used. */
  take(snapshot: mesh.Snapshot): void {
    this.#use(snapshot);
    if (!this.#isReadOnly) this.#save(snapshot);
  }

  #use(snapshot: mesh.Snapshot): true {
    const content = checkedContent(snapshot);
    this.#options.apply(content);
    this.#snapshot = snapshot;
    this.#content = content;
    return true;
  }

  #save(snapshot: mesh.Snapshot): void {
    try {
      this.#options.store.save(snapshot);
      this.#problems.clear();
    } catch (error) {
      // A full disk must not stop traffic from following what is deployed.
      const problem = `snapshot ${snapshot.version} is served, but could not be kept on disk`;
      this.#problems.add(`${problem}: ${(error as Error).message}`);
      this.#options.log.error(problem, { error });
    }
  }

  /** Leaves the disk to the successor from now on. */
  stopSaving(): void {
    this.#isReadOnly = true;
  }
}
