import { HmsError } from "@hms/kernel";
import { EffectFailedError, type EffectHandler, type EffectScene, targetRevision } from "./effect-scene.ts";

/** Makes the release of a deploy, or makes sure that the one to go back to is still there. */
export const prepareRelease: EffectHandler = async (scene) => {
  const { digest, fileCount, reused } = await (scene.state.policy.release === "make" ? make(scene) : find(scene));
  return { release: { digest, fileCount, reused } };
};

async function find(scene: EffectScene) {
  const { parts, state, signal } = scene;
  const { environment, service, revision } = state;
  const digest = targetRevision(scene).releaseDigest;
  if (digest !== "" && (await parts.runtime.hasRelease({ environment, service, digest }, signal))) {
    return { digest, fileCount: 0, reused: true };
  }
  throw new EffectFailedError({
    reason: `The release of revision ${revision} is not on this machine any more.`,
    remedy: "Deploy that version again from its sources, or go back to a later revision with --to.",
  });
}

async function make(scene: EffectScene) {
  const { parts, state, signal, output } = scene;
  const { environment, service } = state;
  const { manifest, sourceDirectory } = targetRevision(scene);
  const buildCommand = manifest.run.build ?? "";
  const request = { environment, service, sourceDirectory, buildCommand, env: manifest.env };
  try {
    for await (const { event } of parts.runtime.prepareRelease(request, signal)) {
      if (event.case === "outputLine") output(event.value);
      if (event.case !== "release") continue;
      const { digest, fileCount, reused } = event.value;
      return { digest, fileCount: Number(fileCount), reused };
    }
  } catch (error) {
    const { code, message } = HmsError.from(error);
    if (signal.aborted || code === "UNAVAILABLE") throw error;
    const remedy = "Mend the program's directory or run.build, then deploy again.";
    throw new EffectFailedError({ reason: message, remedy });
  }
  throw new HmsError("UNAVAILABLE", "The runtime ended before the release was ready.");
}
