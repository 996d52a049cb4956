import { HmsError } from "@hms/kernel";
import type { Failure, RolloutKind } from "./rollout-state.ts";
import type { ServiceKey, ServiceRecord } from "./service-record.ts";

/** NOT_FOUND: no rollout has this id. */
export function noSuchRollout(rolloutId: string): HmsError {
  return new HmsError(
    "NOT_FOUND",
    `There is no rollout "${rolloutId.slice(0, 80)}". List a service's rollouts with hms-sys history SERVICE.`,
    { reason: "ROLLOUT_NOT_FOUND" },
  );
}

/** NOT_FOUND: the environment has no service of this name; the nearest one is named. */
export function noSuchService({ environment, service }: ServiceKey, nearest: string | undefined): HmsError {
  const hint = nearest ? ` Did you mean "${nearest}"?` : " List the services with hms-sys services.";
  return new HmsError("NOT_FOUND", `There is no service "${service}" in the environment "${environment}".${hint}`, {
    reason: "SERVICE_NOT_FOUND",
    metadata: { service, environment, ...(nearest ? { nearest } : {}) },
  });
}

/** FAILED_PRECONDITION: the service exists, but nothing of it has ever served. */
export function nothingDeployed({ environment, service }: ServiceKey): HmsError {
  return new HmsError(
    "FAILED_PRECONDITION",
    `No revision of "${service}" has been rolled out in the environment "${environment}" yet. Deploy one first.`,
    { reason: "NOTHING_DEPLOYED" },
  );
}

/** ABORTED: another rollout of the service runs and the caller does not want to wait. */
export function lockedBy(holder: { rolloutId: string; kind: RolloutKind; service: string; since: Date }): HmsError {
  const since = holder.since.toISOString();
  return new HmsError(
    "ABORTED",
    `Rollout ${holder.rolloutId} (${holder.kind}) of "${holder.service}" runs since ${since}. ` +
      `Wait for it (hms-sys watch ${holder.rolloutId}), then try again.`,
    { reason: "ROLLOUT_LOCKED", metadata: { holder: holder.rolloutId, kind: holder.kind, since } },
  );
}

/** ABORTED: another server carries this rollout on now; this one must not touch it any more. */
export function takenOver(rolloutId: string): HmsError {
  return new HmsError("ABORTED", `Another server carries rollout ${rolloutId} on now.`, {
    reason: "ROLLOUT_TAKEN_OVER",
  });
}

/** RESOURCE_EXHAUSTED: a rollout could not even be journalled to its end. */
export function diskFull(freeBytes: number): HmsError {
  const left = `${Math.floor(freeBytes / 1024 ** 2)} MiB`;
  return new HmsError(
    "RESOURCE_EXHAUSTED",
    `The disk of the data directory is full (${left} left): nothing can be rolled out, and nothing was changed. ` +
      "What serves goes on. Make room on it, then try again.",
    { reason: "DISK_FULL" },
  );
}

/** UNAVAILABLE: the server goes down; rollouts are carried on by the next one. */
export function stopping(): HmsError {
  return new HmsError("UNAVAILABLE", "The server is stopping. Call again when it is back; rollouts go on then.", {
    reason: "STOPPING",
    retryAfterMs: 500,
  });
}

const listed = (revisions: readonly { revision: number }[]) =>
  revisions.length === 0
    ? "None of its other revisions has served well."
    : `Revisions that served well: ${revisions.map(({ revision }) => revision).join(", ")}.`;

/** FAILED_PRECONDITION: the last deploy succeeded, runs still, or is not known. */
export function nothingToRetry(
  { service }: ServiceKey,
  last: { rollout_id: string; phase: string; ended_at: Date | null } | undefined,
): HmsError {
  const why =
    last === undefined
      ? "it was never deployed"
      : last.ended_at === null
        ? `rollout ${last.rollout_id} still runs: follow it with hms-sys watch ${last.rollout_id}`
        : `rollout ${last.rollout_id} succeeded: use hms-sys restart ${service} for new replicas of it`;
  return new HmsError("FAILED_PRECONDITION", `There is nothing of "${service}" to try again; ${why}.`, {
    reason: "NOTHING_TO_RETRY",
  });
}

/** What was decided for one revision, and another one serves. */
export function changedSince(
  { service, currentRevision }: Pick<ServiceRecord, "service" | "currentRevision">,
  expected: number,
): Failure {
  return {
    reason: `"${service}" is at revision ${currentRevision} by now, and this was asked for revision ${expected}: nothing was changed.`,
    remedy: `Look at what serves (hms-sys status ${service}), then ask again if it is still wanted.`,
  };
}

/** NOT_FOUND: no revision of the service has this tag. */
export function noSuchTag({ service }: ServiceKey, tag: string, revisions: readonly { tag: string }[]): HmsError {
  const tags = revisions.flatMap((revision) => (revision.tag === "" ? [] : [revision.tag]));
  const known = tags.length === 0 ? "None has a tag: deploy with --tag." : `There are: ${tags.slice(-20).join(", ")}.`;
  return new HmsError("NOT_FOUND", `No revision of "${service}" is tagged "${tag.slice(0, 80)}". ${known}`, {
    reason: "TAG_NOT_FOUND",
  });
}

/** NOT_FOUND: the service has no such revision with a release. */
export function noRevision(key: ServiceKey, revision: number, good: readonly { revision: number }[]): HmsError {
  return new HmsError("NOT_FOUND", `"${key.service}" has no revision ${revision} to go back to. ${listed(good)}`, {
    reason: "REVISION_NOT_FOUND",
  });
}

/** FAILED_PRECONDITION: no earlier revision served well. */
export function nothingToReturnTo(key: ServiceKey, good: readonly { revision: number }[]): HmsError {
  const later = good.length > 0 ? ` ${listed(good)} Name one with --to.` : "";
  return new HmsError(
    "FAILED_PRECONDITION",
    `No revision of "${key.service}" before the current one served well, so there is nothing to go back to.${later}`,
    { reason: "NO_GOOD_REVISION" },
  );
}

/** A service that cannot be given back to its load. */
export function notScaledByLoad({ service }: ServiceKey): HmsError {
  const why = "its manifest does not let the load decide";
  const what = "Write scaling.max, more than scaling.min, and deploy it";
  return new HmsError("FAILED_PRECONDITION", `"${service}" cannot be scaled by its load: ${why}. ${what}.`, {
    reason: "NOT_SCALED_BY_LOAD",
  });
}
