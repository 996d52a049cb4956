import type { JsonObject } from "@bufbuild/protobuf";
import { hooksOf, type WrittenHook } from "@hms/manifest";
import { postWebhook } from "../gates/post-webhook.ts";
import { resourceLimits } from "../replica-spec.ts";
import { hookOf } from "../rollout-hooks.ts";
import { EffectFailedError, type EffectHandler, type EffectScene, targetRevision } from "./effect-scene.ts";
import { runTask } from "./run-task.ts";

/**
 * Runs one hook to its end, which is journalled, so that it is not run again after that; a server or agent that is killed while
 * it runs cannot know how it ended, and then it is run again.
 */
export const runHook: EffectHandler = async (scene) => {
  const { state, effect, signal } = scene;
  const { at, index } = state.hook ?? { at: "on_failure" as const, index: 0 };
  const hook = hooksOf(targetRevision(scene).manifest, at)[index];
  if (hook === undefined) return {};
  const late = AbortSignal.timeout(Math.max(0, Math.round(effect.until - Date.now())));
  try {
    const limited = { ...scene, signal: AbortSignal.any([signal, late]) };
    if (hook.webhook === undefined) await runCommand(limited, hook);
    else await tell(limited, hook.webhook);
    return {};
  } catch (error) {
    if (late.aborted && !signal.aborted) throw hookFailed(scene, "was not done in its time (timeout)");
    throw error;
  }
};

function hookFailed({ state }: EffectScene, what: string, exit?: JsonObject): EffectFailedError {
  const { at = "on_failure" } = state.hook ?? {};
  return new EffectFailedError({
    reason: `The hook ${hookOf(state)?.name ?? ""} (${at}) ${what}.`,
    remedy: `Mend hooks.${at}, or what it asks, then deploy again.`,
    ...(exit ? { exit } : {}),
  });
}

async function runCommand(scene: EffectScene, { run = ":" }: WrittenHook): Promise<void> {
  const { parts, state, say, effect } = scene;
  const { environment, service, rolloutId } = state;
  const revision = targetRevision(scene);
  const { manifest } = revision;
  const releaseDigest = state.release?.digest ?? revision.releaseDigest;
  if (releaseDigest === "") {
    say("There is no release to run it in, so it is left out");
    return;
  }
  const request = {
    taskId: `hook-${rolloutId}-${effect.stepId.split("-", 1)[0]}`,
    environment,
    service,
    releaseDigest,
    command: run,
    env: { ...manifest.env, ...hookVariables(scene) },
    ...(await parts.vault.of(state, revision)),
    limits: resourceLimits(manifest),
    mesh: await parts.traffic.access(environment),
  };
  const failed = await runTask(scene, request, "the hook");
  if (failed) throw hookFailed(scene, `ended with ${failed.words}`, failed.exit);
}

function hookVariables({ state }: EffectScene): Record<string, string> {
  return {
    HMS_HOOK: state.hook?.at ?? "",
    HMS_ROLLOUT: state.rolloutId,
    HMS_REVISION: String(state.revision),
    HMS_PREVIOUS_REVISION: String(state.previousRevision),
    ...(state.failure ? { HMS_FAILURE: state.failure.reason } : {}),
  };
}

async function tell(scene: EffectScene, url: string): Promise<void> {
  const { state, effect, signal } = scene;
  const { environment, service, rolloutId, revision, previousRevision, hook, ending, failure } = state;
  const { version } = targetRevision(scene).manifest;
  const content = {
    ...{ environment, service, rolloutId, revision, previousRevision, version, hook: hook?.at },
    ...(ending ? { outcome: ending, reason: failure?.reason ?? "" } : {}),
  };
  const timeoutMs = Math.max(1, Math.round(effect.until - Date.now()));
  const answer = await postWebhook({ url, content, agent: "hook", timeoutMs }, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw hookFailed(scene, `could not be told: ${error instanceof Error ? error.message : String(error)}`);
  });
  if (answer.status < 200 || answer.status >= 300) throw hookFailed(scene, `answered HTTP ${answer.status}`);
}
