import { setTimeout as delay } from "node:timers/promises";
import { type AuditSink, type ChangeSignal, componentPrincipal } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import type { ServiceKey } from "../service-record.ts";
import type { FilledPreview, PreviewRow, PreviewStore } from "./preview-store.ts";
import { endReason } from "./previews.ts";

interface KeeperParts {
  store: PreviewStore;
  moved: ChangeSignal;
  now: () => number;
  /** Begins to remove a service, whatever runs there. */
  remove: (key: ServiceKey, reason: string) => Promise<void>;
  audit: Pick<AuditSink, "record"> | undefined;
  log: Logger;
}

/** Previews that other servers have moved are found by then. */
const LOOK_MS = 60_000;
/** While services are being removed. */
const SOON_MS = 1_000;
/** A removal that has come to nothing is tried again after this. */
const AGAIN_MS = 5 * 60_000;
/** Whom these removals are by. */
export const PREVIEW_KEEPER = componentPrincipal("previews");

/** Removes what is in previews that have ended, and forgets them. */
export class PreviewKeeper {
  readonly #parts: KeeperParts;
  readonly #tried = new Map<string, number>();

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  /** Looks whenever one is due, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const change = this.#parts.moved.next(signal, LOOK_MS);
      change.catch(() => {});
      const waitMs = await this.look().catch((error: unknown) => {
        this.#parts.log.warn("it is not known which previews have ended; it is looked up again", { error });
        return SOON_MS;
      });
      await Promise.race([change, delay(waitMs, undefined, { signal })]).catch(() => {});
    }
  }

  /** Removes what is due; answers when to look again. */
  async look(): Promise<number> {
    const { store, now } = this.#parts;
    const previews = await store.read();
    let waitMs = LOOK_MS;
    for (const preview of previews) {
      const leftMs = preview.expires_at.getTime() - now();
      if (leftMs <= 0) waitMs = Math.min(waitMs, await this.#end(preview));
      else if (await this.#isEmptied(preview)) await store.forget(preview);
      else waitMs = Math.min(waitMs, Math.max(leftMs, 1));
    }
    return waitMs;
  }

  async #end(preview: FilledPreview): Promise<number> {
    const { store, now } = this.#parts;
    const { environment, services } = preview;
    if (services.length === 0) {
      await store.forget(preview);
      for (const key of this.#tried.keys()) if (key.startsWith(`${environment}/`)) this.#tried.delete(key);
      return LOOK_MS;
    }
    for (const { name: service } of services) {
      const key = `${environment}/${service}`;
      if ((this.#tried.get(key) ?? Number.NEGATIVE_INFINITY) + AGAIN_MS > now()) continue;
      this.#tried.set(key, now());
      await this.#remove(preview, service);
    }
    return SOON_MS;
  }

  async #remove(preview: PreviewRow, service: string): Promise<void> {
    const { audit, log, remove } = this.#parts;
    const { environment } = preview;
    const reason = endReason(preview);
    try {
      await remove({ environment, service }, reason);
      audit?.record({
        time: new Date(),
        principal: PREVIEW_KEEPER,
        method: "hms.sys.deployment.v1.DeploymentService/Remove",
        permission: "services:delete",
        resource: service,
        environment,
        outcome: "OK",
        reason,
        requestId: "",
        code: "deployment.preview-ended",
      });
    } catch (error) {
      log.warn("a service of a preview that has ended was not removed; it is tried again", {
        ...{ environment, service, error },
      });
    }
  }

  /** Somebody has removed what was there. */
  async #isEmptied(preview: FilledPreview): Promise<boolean> {
    return preview.services.length === 0 && (await this.#parts.store.hasLost(preview));
  }
}
