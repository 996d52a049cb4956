import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { resourceLimits } from "../replica-spec.ts";
import { EffectFailedError, type EffectHandler, targetRevision } from "./effect-scene.ts";
import { exitWords } from "./replica-failure.ts";

/**
 * Runs `run.release` to its end. Its success is journalled, so it is not run again after that; a server or agent that
 * is killed while it runs cannot know how it ended, and then it is run again.
 */
export const runReleaseCommand: EffectHandler = async (scene) => {
  const { parts, state, signal, output } = scene;
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
  const lines = lineSplitter(output);
  for await (const { event } of parts.runtime.runTask(request, signal)) {
    if (event.case === "output") lines.add(Buffer.from(event.value.data).toString("utf8"));
    if (event.case !== "exit") continue;
    lines.end();
    if (event.value.code === 0) return {};
    throw new EffectFailedError({
      reason: `The release command ended with ${exitWords(event.value)}.`,
      remedy: "Mend run.release, then deploy again; no traffic was shifted.",
      exit: toJson(agent.ExitStatusSchema, event.value) as JsonObject,
    });
  }
  throw new HmsError("UNAVAILABLE", "The runtime ended before the release command did.");
};

/** Cuts what a command says into lines. */
export function lineSplitter(take: (line: string) => void) {
  let rest = "";
  return {
    add(text: string) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) take(line.replace(/\r$/, ""));
    },
    end() {
      if (rest !== "") take(rest);
    },
  };
}
