import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel";
import type { EffectKind, RolloutInput } from "../rollout-state.ts";
import { askGates } from "./ask-gates.ts";
import { forgetService, startReplicas, stopReplicas, unregisterService } from "./change-replicas.ts";
import { EffectFailedError, type EffectHandler, type EffectScene } from "./effect-scene.ts";
import { holdRollout } from "./hold-rollout.ts";
import { prepareRelease } from "./prepare-release.ts";
import { proveOutcome } from "./prove-outcome.ts";
import { runHook } from "./run-hook.ts";
import { runReleaseCommand } from "./run-release-command.ts";
import { drainReplicas, shiftTraffic } from "./shift-traffic.ts";
import { verifyReplicas, watchUnderTraffic } from "./verify-replicas.ts";

const HANDLERS: Record<EffectKind, EffectHandler> = {
  prepare: prepareRelease,
  hook: runHook,
  release: runReleaseCommand,
  start: startReplicas,
  verify: verifyReplicas,
  gate: askGates,
  shift: shiftTraffic,
  bake: watchUnderTraffic,
  hold: holdRollout,
  warm: holdRollout,
  drain: drainReplicas,
  stop: stopReplicas,
  prove: proveOutcome,
  unregister: unregisterService,
  forget: forgetService,
};

const AGAIN_MS = 300;
/** Handlers that judge the deadline themselves get this long to say why it passed. */
const LAST_WORDS_MS = 6000;
/** What trying again may change; an endpoint that cannot drain yet is FAILED_PRECONDITION. */
const TRANSIENT = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED", "CANCELLED"]);

const mayPass = (code: string, kind: EffectKind) =>
  TRANSIENT.has(code) || (code === "FAILED_PRECONDITION" && kind === "drain");

/**
 * Does an effect, again and again while what it needs is away, until it is done, has failed for good, or its deadline
 * has passed. Rejects only when `scene.signal` aborts: the rollout is then somebody else's, or a later server's.
 */
export async function performEffect(scene: EffectScene): Promise<RolloutInput> {
  const { effect, signal } = scene;
  let trouble: HmsError | undefined;
  for (;;) {
    const outcome = await attempt(scene);
    signal.throwIfAborted();
    if (!("trouble" in outcome)) return outcome;
    if (trouble === undefined) scene.say(troubleWords(outcome.trouble, effect.kind));
    trouble = outcome.trouble;
    if (Date.now() >= effect.until) return failed(`${effect.title}: it took too long. ${trouble.message}`);
    await delay(AGAIN_MS, undefined, { signal });
  }
}

const AGAIN: Partial<Record<EffectKind, string>> = {
  release: "the release command is run again",
  hook: "the hook is run again",
};
const troubleWords = ({ message }: HmsError, kind: EffectKind) => `${message} (${AGAIN[kind] ?? "tried again"})`;

async function attempt(scene: EffectScene): Promise<RolloutInput | { trouble: HmsError }> {
  const { effect, signal, parts } = scene;
  const late = AbortSignal.timeout(Math.max(0, Math.round(effect.until - Date.now())) + LAST_WORDS_MS);
  try {
    const result = await HANDLERS[effect.kind]({ ...scene, signal: AbortSignal.any([signal, late]) });
    return { type: "done", result };
  } catch (error) {
    if (error instanceof EffectFailedError) return { type: "failed", failure: error.failure };
    const trouble = HmsError.from(error);
    if (trouble.code === "INTERNAL") parts.log.error("an effect of a rollout failed", { effect, error });
    return mayPass(trouble.code, effect.kind) ? { trouble } : failed(trouble.message);
  }
}

function failed(reason: string): RolloutInput {
  return { type: "failed", failure: { reason, remedy: "Mend what the message says, then try again." } };
}
