import { setTimeout as delay } from "node:timers/promises";
import type { mesh } from "@hms/contracts";
import { HmsError } from "@hms/kernel/errors";
import type { Logger } from "@hms/telemetry";
import { ROUTE_FEATURES } from "./route-rules.ts";
import type { ServerLink } from "./server-link.ts";

/** What this data plane knows of what services may ask for. */
const SERVICE_FEATURES = ["split"];
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

/** What a feed works with. */
export interface SnapshotFeedOptions {
  link: ServerLink;
  nodeId: string;
  /** What is served at the moment. */
  known: () => { version: bigint; sha256: Uint8Array };
  /** Serves a snapshot from now on; throws if it cannot. */
  take: (snapshot: mesh.Snapshot) => Promise<void>;
  /** The watch has been opened, or opened again. */
  onOpen: () => void;
  log: Logger;
}

/**
 * Follows the server's snapshots for ever, trying again after 50 ms to 2 s. What the server sends is served, also an
 * older version: it knows of restored backups, this process does not.
 */
export class SnapshotFeed {
  readonly #options: SnapshotFeedOptions;
  readonly #end = new AbortController();

  constructor(options: SnapshotFeedOptions) {
    this.#options = options;
    void this.#follow();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#end;
    let pause = FIRST_PAUSE_MS;
    while (!signal.aborted) {
      const openedAt = performance.now();
      const hadMessages = await this.#watch();
      const wasGood = hadMessages || performance.now() - openedAt > LONGEST_PAUSE_MS;
      if (wasGood) pause = FIRST_PAUSE_MS;
      await delay(pause, undefined, { signal }).catch(() => {});
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }

  /** One watch, to its end; true if it brought something. */
  async #watch(): Promise<boolean> {
    const { link, nodeId, known, onOpen } = this.#options;
    const { signal } = this.#end;
    let hadMessages = false;
    try {
      const { version, sha256 } = known();
      const request = {
        nodeId,
        knownVersion: version,
        knownSha256: sha256,
        features: [...ROUTE_FEATURES, ...SERVICE_FEATURES],
      };
      const messages = link.client.watchSnapshots(request, { signal })[Symbol.asyncIterator]();
      // Asking for the first message sends the request; a report sent after it finds the watch there.
      let next = messages.next();
      onOpen();
      for (let message = await next; !message.done; message = await next) {
        hadMessages = true;
        if (message.value.snapshot) await this.#take(message.value.snapshot);
        next = messages.next();
      }
    } catch (error) {
      this.#explain(HmsError.from(error));
    }
    return hadMessages;
  }

  #explain(error: HmsError): void {
    const { link, log } = this.#options;
    if (this.#end.signal.aborted) return;
    // The token may have been made anew; whoever cannot connect has nothing to say.
    if (error.code !== "UNAVAILABLE") {
      log.warn("the snapshot feed broke; trying again", { error });
      link.reset();
    }
  }

  async #take(snapshot: mesh.Snapshot): Promise<void> {
    const { take, log } = this.#options;
    try {
      await take(snapshot);
    } catch (error) {
      const version = String(snapshot.version);
      log.error("a snapshot was refused; the one before is served", { version, error });
    }
  }

  /** Ends the feed. */
  close(): void {
    this.#end.abort(new HmsError("CANCELLED", "The data plane ends."));
  }
}
