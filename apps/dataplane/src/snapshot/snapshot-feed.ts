import { setTimeout as delay } from "node:timers/promises";
import type { mesh } from "@hms/contracts";
import { type Client, HmsError } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;
const REPORT_EVERY_MS = 5000;
const COALESCE_MS = 50;

/** What a feed works with. */
export interface SnapshotFeedOptions {
  client: Client<typeof mesh.MeshService>;
  nodeId: string;
  /** The version that is served already. */
  knownVersion: bigint;
  /** Serves a snapshot from now on; throws if it cannot. */
  apply: (snapshot: mesh.Snapshot) => Promise<void>;
  drainingInFlight: () => Map<string, number>;
  log: Logger;
}

/** Follows the server's snapshots for ever, and tells it what is served and what still drains. */
export class SnapshotFeed {
  readonly #options: SnapshotFeedOptions;
  readonly #end = new AbortController();
  readonly #heartbeat: NodeJS.Timeout;
  #applied: bigint;
  #pending: NodeJS.Timeout | undefined;

  constructor(options: SnapshotFeedOptions) {
    this.#options = options;
    this.#applied = options.knownVersion;
    this.#heartbeat = setInterval(() => void this.#report(), REPORT_EVERY_MS);
    void this.#follow();
  }

  async #follow(): Promise<void> {
    const { client, nodeId, log } = this.#options;
    const { signal } = this.#end;
    let pause = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      try {
        for await (const { snapshot } of client.watchSnapshots({ nodeId, knownVersion: this.#applied }, { signal })) {
          if (snapshot && !(await this.#take(snapshot))) break;
          pause = FIRST_PAUSE_MS;
        }
      } catch (error) {
        if (!signal.aborted && HmsError.from(error).code !== "UNAVAILABLE")
          log.warn("the snapshot feed broke", { error });
      }
      await delay(pause, undefined, { signal }).catch(() => {});
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }

  /** False if it could not be served: the server is asked for it again, because it may be the last for long. */
  async #take(snapshot: mesh.Snapshot): Promise<boolean> {
    try {
      await this.#options.apply(snapshot);
      this.#applied = snapshot.version;
      await this.#report();
      return true;
    } catch (error) {
      this.#options.log.error("a snapshot was refused; the one before is served", {
        version: String(snapshot.version),
        error,
      });
      return false;
    }
  }

  /** Something drained: the server is told within 50 ms. */
  changed(): void {
    this.#pending ??= setTimeout(() => void this.#report(), COALESCE_MS);
  }

  async #report(): Promise<void> {
    clearTimeout(this.#pending);
    this.#pending = undefined;
    const { client, nodeId, drainingInFlight } = this.#options;
    const report = { nodeId, appliedVersion: this.#applied, drainingInFlight: Object.fromEntries(drainingInFlight()) };
    try {
      await client.reportNode(report, { timeoutMs: 2000 });
    } catch {
      // The server is away; the feed's next turn reports again.
    }
  }

  /** Ends the feed. */
  close(): void {
    this.#end.abort(new HmsError("CANCELLED", "The data plane ends."));
    clearInterval(this.#heartbeat);
    clearTimeout(this.#pending);
  }
}
