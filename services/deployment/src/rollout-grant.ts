import { isDeepStrictEqual } from "node:util";
import { type Manifest, parseTrafficShare, surgeReplicas } from "@hms/manifest";
import { changedSince } from "./errors.ts";
import { gatePlanOf } from "./gates/gate.ts";
import { WHOLE } from "./rollout-begin.ts";
import { hookPlanOf } from "./rollout-hooks.ts";
import type { Failure, RolloutInput, RolloutKind, RolloutPolicy, RolloutState } from "./rollout-state.ts";
import { scalingRule } from "./scaling/scaling-rule.ts";
import type { RevisionRecord, ServiceRecord } from "./service-record.ts";
import type { RolloutRequest } from "./tables.ts";

const NO_MANIFEST = { startTimeoutMs: 30_000, minHealthyTimeMs: 0, drainTimeoutMs: 30_000, stopGraceMs: 10_000 };

/**
 * Replicas after a deploy of this manifest: what the operator scaled to, or where the load decides what it has led to, within
 * its bounds, else its minimum. A version shows that it works by running, so there is one at least.
 */
export function wantedAfterDeploy({ scaling }: Manifest, record: ServiceRecord | undefined): number {
  const { max } = scaling;
  const min = Math.max(1, scaling.min);
  const now = record?.scaledTo ?? (scalingRule(scaling) ? record?.wanted : undefined);
  return now === undefined ? min : Math.min(max, Math.max(min, now));
}

function wantedAfter(kind: RolloutKind, manifest: Manifest, { record, request }: GrantScene): number {
  switch (kind) {
    case "deploy":
    case "rollback":
      return wantedAfterDeploy(manifest, record);
    case "restart":
      return record.wanted > 0 ? record.wanted : wantedAfterDeploy(manifest, record);
    case "scale":
      return request.replicas ?? record.wanted;
    default:
      return 0;
  }
}

/** What is known when a rollout gets its lock. */
export interface GrantScene {
  record: ServiceRecord;
  request: RolloutRequest;
}

/**
 * What a rollout whose turn has come begins with. It may have waited behind others, for days: what was decided when it was asked
 * for is looked at again, and so is what holds deploys up now.
 */
export function beginning(
  state: RolloutState,
  scene: GrantScene & { heldUp: Failure | undefined },
): RolloutInput & { type: "locked" | "refused" } {
  const { record, request, heldUp } = scene;
  const { expectedRevision: expected = record.currentRevision } = request;
  const serves = record.currentRevision;
  const isExpected = expected === serves || isSameProgram(record, state);
  const failure = isExpected ? heldUp : changedSince(record, expected);
  if (failure) return { type: "refused", failure, serves };
  const grant = grantRollout(state, scene);
  if (typeof grant !== "string") return { type: "locked", grant };
  return { type: "refused", failure: { reason: grant, remedy: "Deploy it again." }, serves };
}

/** Whether a rollout brings newer secrets only: somebody else's, just before, are no reason to keep old ones. */
function isSameProgram({ revisions, currentRevision }: ServiceRecord, { kind, revision }: RolloutState): boolean {
  const [next, serves] = [revisions.get(revision), revisions.get(currentRevision)];
  if (kind !== "deploy" || next === undefined || serves === undefined) return false;
  return next.releaseDigest === serves.releaseDigest && isDeepStrictEqual(next.manifest, serves.manifest);
}

/** What a rollout may do and with what, decided when its turn has come; a text says why it cannot happen any more. */
export function grantRollout(state: RolloutState, scene: GrantScene) {
  const { record } = scene;
  const { kind } = state;
  const isNew = kind === "deploy" || kind === "rollback";
  const revision = isNew ? state.revision : record.currentRevision;
  const manifest = record.revisions.get(revision)?.manifest;
  if (manifest === undefined && kind !== "stop" && kind !== "remove") {
    return `${record.service} has nothing to ${kind} any more: it was removed meanwhile.`;
  }
  return {
    revision,
    previousRevision: record.currentRevision,
    trafficRevision: record.trafficRevision,
    stopped: record.wanted === 0 && !record.asleep,
    policy: policyOf(kind, record.revisions.get(revision), scene),
    existing: record.replicas
      .filter(({ phase }) => phase === "running")
      .map(({ id, revision: own, ordinal, traffic }) => ({ id, revision: own, ordinal, traffic })),
  };
}

/** What is tried again is what was tried before, if it came so far that there was a release. */
function releaseOf(kind: RolloutKind, { request }: GrantScene, releaseDigest: string) {
  if (kind === "deploy") return request.again && releaseDigest !== "" ? "find" : "make";
  return kind === "rollback" ? "find" : "none";
}

function policyOf(kind: RolloutKind, revision: RevisionRecord | undefined, scene: GrantScene): RolloutPolicy {
  if (revision === undefined) {
    return { ...NO_MANIFEST, wanted: 0, surge: 1, deadlineMs: 300_000, release: "none", runsReleaseCommand: false };
  }
  const { manifest } = revision;
  const { health, rollout, run, stopGraceMs } = manifest;
  const wanted = wantedAfter(kind, manifest, scene);
  return {
    wanted,
    surge: surgeReplicas(rollout.maxSurge, Math.max(1, wanted)),
    startTimeoutMs: health.startTimeoutMs,
    minHealthyTimeMs: health.minHealthyTimeMs,
    drainTimeoutMs: rollout.drainTimeoutMs,
    stopGraceMs,
    deadlineMs: rollout.deadlineMs,
    release: releaseOf(kind, scene, revision.releaseDigest),
    runsReleaseCommand: kind === "deploy" && run.release !== undefined,
    ...(kind === "deploy" ? { ...sideBySideOf(manifest), ...gatePlanOf(manifest), ...hookPlanOf(manifest) } : {}),
    ...(scene.request.automatic ? { automatic: true } : {}),
  };
}

const DEFAULT_STEPS = [
  { share: "1%", holdMs: 60_000 },
  { share: "50%", holdMs: 60_000 },
];

/** How both versions serve side by side, if the manifest asks for it; those that older versions stored never do. */
export function sideBySideOf({ rollout }: Pick<Manifest, "rollout">): Pick<RolloutPolicy, "sideBySide"> {
  const { strategy, promote, warmMs } = rollout;
  const isManual = promote === "manual";
  if (strategy === "blue-green") {
    const preview = isManual ? { share: 0 } : { share: 0, holdMs: 0 };
    return { sideBySide: { steps: [preview, { share: WHOLE, holdMs: 0 }], whole: true, warmMs } };
  }
  if (strategy !== "canary") return {};
  const given = rollout.steps.length > 0 ? rollout.steps : DEFAULT_STEPS;
  const shares = given.map(({ share, holdMs }) => ({ share: parseTrafficShare(share) ?? WHOLE, holdMs }));
  const partial = shares.filter(({ share }) => share < WHOLE);
  const steps = partial.map(({ share, holdMs }) => (isManual ? { share } : { share, holdMs }));
  const last = shares.find(({ share }) => share === WHOLE)?.holdMs ?? 0;
  return { sideBySide: { steps: [...steps, { share: WHOLE, holdMs: last }], whole: false, warmMs } };
}
