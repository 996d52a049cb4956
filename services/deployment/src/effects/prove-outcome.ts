import { EffectFailedError, type EffectHandler, type EffectScene } from "./effect-scene.ts";
import { replicaFailure } from "./replica-failure.ts";

const LOOK_MS = 100;

/**
 * Makes sure that a rollout may be called a success: every endpoint that gets requests is a ready replica of the
 * revision, run from the revision's release, all that are wanted are there, and every data plane serves exactly this.
 */
export const proveOutcome: EffectHandler = async (scene) => {
  refuseTooFew(scene);
  for (;;) {
    const doubt = await firstDoubt(scene);
    if (doubt === undefined) return {};
    if (Date.now() >= scene.effect.until) throw new EffectFailedError(await doubtFailure(scene, doubt));
    scene.signal.throwIfAborted();
    await scene.parts.health.changes.next(scene.signal, LOOK_MS);
  }
};

/** Waiting brings no replica that the rollout does not know of. @throws EffectFailedError */
function refuseTooFew({ state, effect }: EffectScene): void {
  const { wanted } = state.policy;
  const there = effect.ids.length;
  if (there >= wanted) return;
  const reason = `${there} of ${wanted} ${wanted === 1 ? "replica is" : "replicas are"} there to serve revision ${state.revision}.`;
  throw new EffectFailedError({ reason, remedy: "See hms-sys status for what serves, then try again." });
}

interface Doubt {
  id: string;
  reason: string;
}

async function firstDoubt(scene: EffectScene): Promise<Doubt | undefined> {
  const { parts, state, signal } = scene;
  const prefix = `${state.environment}/${state.service}/`;
  const wanted = new Set(scene.effect.ids);
  if (state.policy.wanted === 0) {
    const left = parts.observed.ids().find((id) => id.startsWith(prefix));
    return left === undefined ? undefined : { id: left, reason: `Replica ${left} still runs.` };
  }
  const inReplicas = replicaDoubt(scene);
  if (inReplicas) return inReplicas;
  await parts.traffic.confirm(state, signal);
  const serving = await parts.traffic.activeEndpoints(state);
  const stranger = serving.find(({ endpointId }) => !wanted.has(endpointId));
  if (stranger) return { id: stranger.endpointId, reason: `${stranger.endpointId} still gets requests.` };
  const served = new Set(serving.map(({ endpointId }) => endpointId));
  const idle = scene.effect.ids.find((id) => !served.has(id));
  return idle === undefined ? undefined : { id: idle, reason: `Replica ${idle} gets no requests.` };
}

function replicaDoubt({ parts, state, effect }: EffectScene): Doubt | undefined {
  const digest = parts.book.get(state)?.revisions.get(state.revision)?.releaseDigest ?? "";
  for (const id of effect.ids) {
    const spec = parts.observed.get(id)?.spec;
    if (parts.health.of(id).state !== "ready") return { id, reason: `Replica ${id} is not ready any more.` };
    if (Number(spec?.revision ?? 0n) !== state.revision || spec?.releaseDigest !== digest) {
      return { id, reason: `Replica ${id} does not run revision ${state.revision} from its release.` };
    }
  }
  return undefined;
}

async function doubtFailure({ parts, state }: EffectScene, { id, reason }: Doubt) {
  const revision = parts.book.get(state)?.revisions.get(state.revision);
  return replicaFailure({ id, reason, revision }, parts);
}
