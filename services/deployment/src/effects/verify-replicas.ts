import type { RolloutReplica } from "../rollout-state.ts";
import { EffectFailedError, type EffectHandler, type EffectScene } from "./effect-scene.ts";
import { exitWords, replicaFailure } from "./replica-failure.ts";

/** A program that ends this often while it should become healthy will not become so. */
const MOST_EXITS = 3;
/** Reports and verdicts wake the wait; times to pass do not. */
const LOOK_MS = 50;

const shortId = (id: string) => id.split("/").slice(2).join("/");

/** Waits until every replica has been healthy without a break for the manifest's `min_healthy_time`. */
export const verifyReplicas: EffectHandler = async (scene) => {
  const { parts, state, effect } = scene;
  const { ids } = effect;
  const told = new Set<string>();
  for (;;) {
    await refuseHopeless(scene);
    const well = ids.filter((id) => parts.health.of(id).state === "ready");
    const news = well.filter((id) => !told.has(id));
    for (const id of news) told.add(id);
    if (news.length > 0 && ids.length > 1) scene.say(`${told.size} of ${ids.length} healthy`);
    const lasting = ids.every((id) => parts.health.readyForMs(id) >= state.policy.minHealthyTimeMs);
    if (well.length === ids.length && lasting) return {};
    await changeOrLook(scene);
  }
};

async function changeOrLook({ parts, signal }: EffectScene): Promise<void> {
  signal.throwIfAborted();
  await parts.health.changes.next(signal, LOOK_MS);
}

/** New replicas that serve already count too: one that keeps ending must not be waited past. */
async function refuseHopeless(scene: EffectScene): Promise<void> {
  await refuseEnding(scene);
  const { parts, effect } = scene;
  if (Date.now() < effect.until) return;
  const late = effect.ids.find((id) => parts.health.of(id).state !== "ready") ?? effect.ids[0] ?? "";
  const exit = parts.observed.get(late)?.lastExit;
  const seconds = Math.round((effect.until - effect.startedAt) / 100) / 10;
  const ended = exit ? `; it had ended with ${exitWords(exit)}` : "";
  await refuse(scene, late, `was not healthy within ${seconds} s${ended}`);
}

/** @throws EffectFailedError if a new replica cannot be started, or keeps ending */
export async function refuseEnding(scene: EffectScene): Promise<void> {
  const { parts, state, effect } = scene;
  const concerned = new Set(effect.ids);
  // On the way back the new ones are what is left behind, and how they end speaks against nobody else.
  const isForward = state.phase !== "reverting";
  const ours = state.replicas.filter(({ id, role }) => concerned.has(id) || (isForward && role === "fresh"));
  for (const { id } of ours) {
    const exit = parts.observed.get(id)?.lastExit;
    const exits = parts.observed.exits(id);
    if (exit?.launchError && exits > 0) await refuse(scene, id, `could not be started: ${exit.launchError}`);
    if (exits >= MOST_EXITS) await refuse(scene, id, `ended ${exits} times, the last time with ${exitWords(exit)}`);
  }
}

async function refuse({ parts, state }: EffectScene, id: string, what: string): Promise<never> {
  const replica = state.replicas.find((each) => each.id === id);
  const revision = parts.book.get(state)?.revisions.get(replica?.revision ?? 0);
  throw new EffectFailedError(await replicaFailure({ id, reason: `Replica ${shortId(id)} ${what}.`, revision }, parts));
}

/**
 * Waits until the new replicas that have traffic are all ready, so that as many old ones can go without fewer being
 * left than served before or are wanted.
 */
export const watchUnderTraffic: EffectHandler = async (scene) => {
  const { parts, state } = scene;
  const active = (role: RolloutReplica["role"]) =>
    state.replicas.filter((replica) => replica.role === role && replica.traffic === "active");
  for (;;) {
    await refuseHopeless(scene);
    if (active("fresh").every(({ id }) => parts.health.of(id).state === "ready")) return {};
    await changeOrLook(scene);
  }
};
