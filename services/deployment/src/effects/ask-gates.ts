import { type Gate, gatesOf } from "../gates/gate.ts";
import { GateWatch } from "../gates/gate-watch.ts";
import { type EffectHandler, type EffectScene, targetRevision } from "./effect-scene.ts";
import { refuseEnding } from "./verify-replicas.ts";

/** Asks the gates about replicas that have had no request yet. */
export const askGates: EffectHandler = async (scene) => {
  const gates = gatesOf(targetRevision(scene).manifest).filter(({ at }) => at === "start");
  await using watch = new GateWatch(scene, gates, "until they pass");
  await refuseEnding(scene);
  return await watch.settled();
};

/** The gates that watch a hold; none if what is held has not been decided by them. */
export function gatesOfHold({ parts, state, effect }: EffectScene): Gate[] {
  if (state.policy.gates === undefined || state.holds === "pause" || state.direct) return [];
  const gates = gatesOf(targetRevision({ parts, state }).manifest);
  if (state.holds === "verdict" && state.awaits === "start") return gates.filter(({ at }) => at === "start");
  // A preview gets requests of those who ask for it only: nothing to count.
  const isPreview = effect.kind === "hold" && state.split?.share === 0;
  return gates.filter(({ at, asks }) => at === "traffic" && !(isPreview && asks.kind === "metric"));
}
