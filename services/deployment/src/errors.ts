import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { deployment } from "@hms/contracts";
import { HmsError } from "@hms/kernel";

/** NOT_FOUND with the nearest name that exists. */
export function serviceNotFound(environment: string, name: string, nearest: string | undefined): HmsError {
  const hint = nearest === undefined ? "`hms-sys services` lists what there is." : `Did you mean ${nearest}?`;
  return new HmsError("NOT_FOUND", `There is no service "${name}" in the environment "${environment}". ${hint}`, {
    reason: "SERVICE_NOT_FOUND",
  });
}

/** ABORTED: another rollout of the service runs. */
export function rolloutLocked(holder: { rolloutId: string; startedAt: Date }): HmsError {
  const since = holder.startedAt.toISOString();
  return new HmsError(
    "ABORTED",
    `Rollout ${holder.rolloutId} of this service runs since ${since}. Wait for it (leave --no-wait-lock out), or watch it: hms-sys watch ${holder.rolloutId}`,
    { reason: "ROLLOUT_LOCKED", metadata: { holder: holder.rolloutId, since } },
  );
}

/** What ends a rollout without success; carries what a person needs to mend it. */
export class RolloutFailedError extends Error {
  readonly failure: deployment.RolloutFailure;

  constructor(failure: MessageInitShape<typeof deployment.RolloutFailureSchema>) {
    super(failure.reason ?? "The rollout failed.");
    this.failure = create(deployment.RolloutFailureSchema, failure);
  }
}
