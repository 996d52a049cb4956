import { createHash } from "node:crypto";

/** How much of the digest stands in an id: others of the same run have another one. */
const DIGITS = 16;

/**
 * The id of the rollout that a step is: the same at each attempt, so that a step that is begun again finds the rollout that it has
 * begun. It sorts by the time of the run's start, as a rollout's own id does.
 */
export function rolloutIdOf(runId: string, node: string, target = ""): string {
  const startedMs = Number.parseInt(runId.replaceAll("-", "").slice(0, 12), 16);
  const digest = createHash("sha256").update(`${runId}\0${node}\0${target}`).digest("hex");
  return `${startedMs.toString(36)}${digest.slice(0, DIGITS)}`;
}
