import { resourceLimits } from "../replica-spec.ts";
import { EffectFailedError, type EffectHandler, targetRevision } from "./effect-scene.ts";
import { runTask } from "./run-task.ts";

/**
 * Runs `run.release` to its end. Its success is journalled, so it is not run again after that; a server or agent that
 * is killed while it runs cannot know how it ended, and then it is run again.
 */
export const runReleaseCommand: EffectHandler = async (scene) => {
  const { parts, state } = scene;
  const { environment, service, rolloutId } = state;
  const revision = targetRevision(scene);
  const { manifest, releaseDigest } = revision;
  const request = {
    taskId: `release-${rolloutId}`,
    environment,
    service,
    releaseDigest: state.release?.digest ?? releaseDigest,
    command: manifest.run.release ?? ":",
    env: manifest.env,
    ...(await parts.vault.of(state, revision)),
    limits: resourceLimits(manifest),
    mesh: await parts.traffic.access(environment),
  };
  const failed = await runTask(scene, request, "the release command");
  if (failed === undefined) return {};
  throw new EffectFailedError({
    reason: `The release command ended with ${failed.words}.`,
    remedy: "Mend run.release, then deploy again; no traffic was shifted.",
    exit: failed.exit,
  });
};
