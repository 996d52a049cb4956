import type { EffectScene } from "./effect-scene.ts";
import { EffectFailedError, type EffectHandler, targetRevision } from "./effect-scene.ts";
import { replicaFailure } from "./replica-failure.ts";

const LOOK_MS = 50;

/** Gives the mesh the new picture and waits until every data plane serves it. */
export const shiftTraffic: EffectHandler = async ({ parts, state, signal }) => ({
  nodes: await parts.traffic.confirm(state, signal),
});

/** Takes replicas out of new requests, waits for what runs on them, and leaves only if enough stay ready. */
export const drainReplicas: EffectHandler = async (scene) => {
  const { parts, state, effect, signal } = scene;
  await enoughStay(scene);
  await parts.traffic.confirm(state, signal);
  const there = effect.ids.filter((id) => parts.observed.isThere(id));
  const left = await parts.traffic.drained(there, { timeoutMs: state.policy.drainTimeoutMs, signal });
  await enoughStay(scene);
  return { left };
};

/**
 * The last healthy replicas never go: as long as the leaving ones are needed for what was promised, they stay. Those
 * that are not ready themselves are not needed.
 */
async function enoughStay(scene: EffectScene): Promise<void> {
  const { parts, state, effect, signal } = scene;
  const leaving = new Set(effect.ids);
  const staying = state.replicas.filter(({ id, traffic }) => traffic === "active" && !leaving.has(id));
  if (staying.length === 0) return;
  const isReady = ({ id }: { id: string }) => parts.health.of(id).state === "ready";
  const enough = () => staying.some(isReady) || !effect.ids.some((id) => isReady({ id }));
  while (!enough()) {
    signal.throwIfAborted();
    if (Date.now() >= effect.until) {
      const id = staying[0]?.id ?? "";
      const reason = "The replicas that should take over are not ready any more.";
      throw new EffectFailedError(await replicaFailure({ id, reason, revision: targetRevision(scene) }, parts));
    }
    await parts.health.changes.next(signal, LOOK_MS);
  }
}
