import { HmsError } from "@hms/kernel";
import { type WorkloadKeys, workloadKeyId } from "./workload-keys.ts";
import type { WorkloadTokens } from "./workload-tokens.ts";

/** The longest lease of an instance: who calls the platform at all does so within this time. */
const WATCH_MS = 10 * 60_000;

/** Replaces the key of deployed services' tokens without anybody losing a call. */
export interface WorkloadKeyReplacement {
  replaceWorkloadKey(): { keyId: string; oldKeyIds: string[] };
  /** @throws HmsError FAILED_PRECONDITION as long as an old key may be needed, unless it is forced. */
  forgetOldWorkloadKeys(options: { force: boolean }): { keyId: string; forgottenKeyIds: string[] };
}

/** What replacing stands on. */
export interface WorkloadKeyGround {
  readonly keys: WorkloadKeys;
  readonly tokens: Pick<WorkloadTokens, "oldUses">;
  /** Since when this process sees who shows tokens, and now, by `Date.now()`; default from now on, by the clock. */
  readonly startedAtMs?: number;
  readonly now?: () => number;
}

/** Makes one for the process that deployed services call. */
export function createWorkloadKeyReplacement(ground: WorkloadKeyGround): WorkloadKeyReplacement {
  const { keys, tokens, now = Date.now, startedAtMs = now() } = ground;
  const idsOf = () => keys.all.map(workloadKeyId) as [string, ...string[]];
  return {
    replaceWorkloadKey() {
      keys.replace();
      const [keyId, ...oldKeyIds] = idsOf();
      return { keyId, oldKeyIds };
    },
    forgetOldWorkloadKeys({ force }) {
      keys.look();
      const [keyId, ...forgottenKeyIds] = idsOf();
      const { replacedAtMs } = keys;
      if (replacedAtMs === undefined) return { keyId, forgottenKeyIds: [] };
      if (!force) assertUnused(tokens.oldUses, Math.max(replacedAtMs, startedAtMs), now());
      keys.forgetOld();
      return { keyId, forgottenKeyIds };
    },
  };
}

function assertUnused(oldUses: ReadonlyMap<string, number>, watchedSinceMs: number, nowMs: number): void {
  const users = [...oldUses].filter(([, at]) => nowMs - at < WATCH_MS).map(([id]) => id);
  if (users.length > 0) {
    const message = `Still called with a token by the old key: ${users.sort().join(", ")}. Restart them (hms-sys restart NAME), wait ten minutes, and forget it then; --force refuses them now.`;
    throw new HmsError("FAILED_PRECONDITION", message, { reason: "OLD_KEY_IN_USE" });
  }
  const leftMs = watchedSinceMs + WATCH_MS - nowMs;
  if (leftMs <= 0) return;
  const message = `Who still uses the old key is known after ten minutes: ask again in ${Math.ceil(leftMs / 60_000)} min; --force does not wait.`;
  throw new HmsError("FAILED_PRECONDITION", message, { reason: "OLD_KEY_IN_USE" });
}
