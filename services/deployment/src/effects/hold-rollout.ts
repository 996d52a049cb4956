import { GateWatch } from "../gates/gate-watch.ts";
import { gatesOfHold } from "./ask-gates.ts";
import { EffectFailedError, type EffectHandler, type EffectScene, targetRevision } from "./effect-scene.ts";
import { replicaFailure } from "./replica-failure.ts";
import { refuseEnding } from "./verify-replicas.ts";

const LOOK_MS = 200;

/**
 * Waits out a step that is watched, a pause, the time in which what served before stays warm, or gates that cannot tell yet;
 * fails as soon as the new replicas do not bear it or a gate says so. Who promotes or resumes the rollout ends it earlier,
 * from outside.
 */
export const holdRollout: EffectHandler = async (scene) => {
  const unready = new Map<string, number>();
  const isVerdict = scene.state.holds === "verdict";
  await using watch = new GateWatch(scene, gatesOfHold(scene), "all the time");
  for (;;) {
    await refuseEnding(scene);
    await refuseUnready(scene, unready);
    await watch.refuse();
    if (isVerdict && watch.passes) return {};
    if (Date.now() >= scene.effect.until) break;
    scene.signal.throwIfAborted();
    const left = Math.max(1, scene.effect.until - Date.now());
    await scene.parts.health.changes.next(scene.signal, Math.min(LOOK_MS, left));
  }
  if (endsByItself(scene)) return await watch.conclude();
  throw new EffectFailedError({
    reason: `${scene.effect.title}: nobody did for seven days.`,
    remedy: "Deploy it again, and promote it with hms-sys promote SERVICE.",
  });
};

function endsByItself({ state, effect }: EffectScene): boolean {
  if (effect.kind === "warm") return true;
  if (state.holds === "window") return true;
  if (state.holds === "pause" || state.holds === "verdict") return false;
  return state.policy.sideBySide?.steps[state.step ?? 0]?.holdMs !== undefined;
}

/** A new replica that is not ready for as long as starting may take has not just stumbled. */
async function refuseUnready(scene: EffectScene, since: Map<string, number>): Promise<void> {
  const { parts, state, effect } = scene;
  for (const id of effect.ids) {
    if (parts.health.of(id).state === "ready") {
      since.delete(id);
      continue;
    }
    const from = since.get(id) ?? Date.now();
    since.set(id, from);
    const someReady = effect.ids.some((other) => parts.health.of(other).state === "ready");
    // While none is ready there is no reason to wait: what served before is there.
    if (someReady && Date.now() - from < state.policy.startTimeoutMs) continue;
    if (Date.now() - from < state.policy.minHealthyTimeMs) continue;
    const reason = `Replica ${id.split("/").slice(2).join("/")} is not healthy any more.`;
    throw new EffectFailedError(await replicaFailure({ id, reason, revision: targetRevision(scene) }, parts));
  }
}
