import { setTimeout as delay } from "node:timers/promises";
import { type AuditSink, type ChangeSignal, componentPrincipal, HmsError } from "@hms/kernel";
import type { Logger } from "@hms/telemetry";
import type { SecretKey } from "../secrets/secret-store.ts";
import type { ServiceKey } from "../service-record.ts";
import type { FilledPreview, PreviewRow, PreviewStore } from "./preview-store.ts";
import { endReason } from "./previews.ts";

interface KeeperParts {
  store: Pick<PreviewStore, "read" | "find" | "forget" | "hasLost">;
  moved: ChangeSignal;
  now: () => number;
  /** Begins to remove a service, whatever runs there. @throws HmsError ABORTED if the end of the preview was moved */
  remove: (key: ServiceKey, preview: PreviewRow, reason: string) => Promise<void>;
  /** Takes an environment without services out of the mesh. @throws HmsError FAILED_PRECONDITION if it has some there */
  removeEnvironment: (environment: string) => Promise<void>;
  /** Hears which versions of a secret were destroyed. */
  destroyed: (key: SecretKey, versions: readonly number[]) => void;
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
      else if (await this.#isEmptied(preview)) waitMs = Math.min(waitMs, await this.#forget(preview, emptied(preview)));
      else waitMs = Math.min(waitMs, Math.max(leftMs, 1));
    }
    return waitMs;
  }

  async #end(preview: FilledPreview): Promise<number> {
    const { now } = this.#parts;
    const { environment, services } = preview;
    if (services.length === 0) return this.#forget(preview, endReason(preview));
    for (const { name: service } of services) {
      const key = `${environment}/${service}`;
      if ((this.#tried.get(key) ?? Number.NEGATIVE_INFINITY) + AGAIN_MS > now()) continue;
      if (!(await this.#isAsRead(preview))) return SOON_MS;
      this.#tried.set(key, now());
      await this.#remove(preview, service);
    }
    return SOON_MS;
  }

  /** Nobody has moved its end meanwhile. */
  async #isAsRead({ environment, set_at }: PreviewRow): Promise<boolean> {
    return (await this.#parts.store.find(environment))?.set_at.getTime() === set_at.getTime();
  }

  async #remove(preview: PreviewRow, service: string): Promise<void> {
    const { log, remove } = this.#parts;
    const { environment } = preview;
    const reason = endReason(preview);
    try {
      await remove({ environment, service }, preview, reason);
      this.#record({ method: "DeploymentService/Remove", permission: "services:delete" }, service, { preview, reason });
    } catch (error) {
      if (HmsError.from(error).code === "ABORTED") this.#tried.delete(`${environment}/${service}`);
      log.warn("a service of a preview that has ended was not removed; it is tried again", {
        ...{ environment, service, error },
      });
    }
  }

  /** Forgets what is empty, and all that is kept for it; answers when to look again. */
  async #forget(preview: PreviewRow, reason: string): Promise<number> {
    const { store, log, destroyed } = this.#parts;
    const { environment } = preview;
    try {
      const forgotten = await store.forget(preview, (name) => this.#release(name));
      if (forgotten === undefined) return SOON_MS;
      for (const { name, versions } of forgotten.secrets) {
        destroyed({ environment, name }, versions);
        this.#record({ method: "SecretService/RemoveSecret", permission: "secrets:delete" }, name, { preview, reason });
      }
      for (const service of forgotten.freezes) {
        const method = { method: "DeploymentService/Unfreeze", permission: "services:freeze" };
        this.#record(method, service, { preview, reason });
      }
    } catch (error) {
      log.warn("a preview that is over was not forgotten; it is tried again", { environment, error });
      return SOON_MS;
    }
    for (const key of this.#tried.keys()) if (key.startsWith(`${environment}/`)) this.#tried.delete(key);
    return LOOK_MS;
  }

  /** What somebody else has put into the mesh there is theirs to take out. */
  async #release(environment: string): Promise<void> {
    const { removeEnvironment, log } = this.#parts;
    try {
      await removeEnvironment(environment);
    } catch (error) {
      const { code } = HmsError.from(error);
      if (code !== "FAILED_PRECONDITION" && code !== "UNIMPLEMENTED") throw error;
      log.warn("the environment of a preview stays in the mesh", { environment, error });
    }
  }

  #record(
    { method, permission }: { method: string; permission: string },
    resource: string,
    { preview, reason }: { preview: PreviewRow; reason: string },
  ): void {
    this.#parts.audit?.record({
      time: new Date(),
      principal: PREVIEW_KEEPER,
      method: `hms.sys.deployment.v1.${method}`,
      permission,
      resource,
      environment: preview.environment,
      outcome: "OK",
      reason,
      requestId: "",
      code: "deployment.preview-ended",
    });
  }

  /** Somebody has removed what was there. */
  async #isEmptied(preview: FilledPreview): Promise<boolean> {
    return preview.services.length === 0 && (await this.#parts.store.hasLost(preview));
  }
}

const emptied = ({ environment }: PreviewRow) => `the last service of the preview "${environment}" was removed`;
