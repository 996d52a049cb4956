import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import type { DeploymentRuntime } from "../ports.ts";
import type { EffectScene } from "./effect-scene.ts";
import { LineSplitter } from "./line-splitter.ts";
import { exitWords } from "./replica-failure.ts";

/** How a command ended that did not succeed. */
export interface FailedTask {
  /** "exit code 3". */
  words: string;
  /** In protobuf's JSON form. */
  exit: JsonObject;
}

/**
 * Runs a command of a rollout to its end and passes on what it says; answers with nothing if it succeeded. `what` names it: "the
 * hook".
 * @throws HmsError UNAVAILABLE if it is not known how it ended
 */
export async function runTask(
  { parts, signal, output }: EffectScene,
  request: Parameters<DeploymentRuntime["runTask"]>[0],
  what: string,
): Promise<FailedTask | undefined> {
  const lines = new LineSplitter(output);
  for await (const { event } of parts.runtime.runTask(request, signal)) {
    if (event.case === "output") lines.add(event.value.data);
    if (event.case !== "exit") continue;
    lines.end();
    const { value: exit } = event;
    if (exit.code === 0) return undefined;
    return { words: exitWords(exit), exit: toJson(agent.ExitStatusSchema, exit) as JsonObject };
  }
  throw new HmsError("UNAVAILABLE", `The runtime ended before ${what} did.`);
}
