import type { JsonObject } from "@bufbuild/protobuf";
import { manifestDiff } from "@hms/manifest";
import { serviceUrls } from "./replica-spec.ts";
import type { RolloutKind, RolloutState } from "./rollout-state.ts";
import { stateName } from "./rollout-turn.ts";
import { secretChanges } from "./secrets/secret-changes.ts";
import type { ServiceRecord } from "./service-record.ts";

/** An event of a rollout in protobuf's JSON form, with the time of now; its sequence follows from its place. */
export function rolloutEvent(rolloutId: string, event: JsonObject): JsonObject {
  return { rolloutId, time: new Date().toISOString(), ...event };
}

/** The first event of a rollout. */
export function plannedEvent(
  { kind, environment, service, revision }: Pick<RolloutState, "kind" | "environment" | "service" | "revision">,
  warnings: string[],
): JsonObject {
  const planned = { kind: kindName(kind), service, environment, revision: String(revision), warnings };
  return { planned };
}

/** A kind as protobuf's JSON form writes it. */
function kindName(kind: RolloutKind): string {
  return `ROLLOUT_KIND_${kind.toUpperCase()}`;
}

/** The last event of a rollout: what serves now, and why it is not what was asked for. */
export function endedEvent(state: RolloutState, record: ServiceRecord): JsonObject {
  const { phase, revision, previousRevision, failure, policy } = state;
  const succeeded = phase === "succeeded";
  const serving = succeeded ? revision : previousRevision;
  const manifest = record.revisions.get(serving)?.manifest;
  const serves = manifest !== undefined && (succeeded ? policy.wanted > 0 : record.wanted > 0);
  const ended: JsonObject = {
    state: stateName(phase),
    revision: String(serving),
    serviceUrls: serves ? serviceUrls(manifest) : [],
    previousRevision: String(state.beganStopped ? 0 : previousRevision),
  };
  if (failure) ended.failure = { ...failure, changes: changesOf(state, record) } as JsonObject;
  return { ended };
}

/** What differs between the revision that did not make it and the one that serves. */
function changesOf({ revision, previousRevision }: RolloutState, { revisions }: ServiceRecord): JsonObject[] {
  const before = revisions.get(previousRevision);
  const after = revisions.get(revision);
  if (before === undefined || after === undefined || revision === previousRevision) return [];
  const changes = [...manifestDiff(before.manifest, after.manifest), ...secretChanges(before.secrets, after.secrets)];
  return changes.map(({ key, before: from, after: to }) => ({ key, before: from, after: to }));
}
