import type { MessageInitShape } from "@bufbuild/protobuf";
import type { deployment } from "@hms/contracts";
import { type Manifest, manifestDiff, surgeReplicas } from "@hms/manifest";
import { downtimeVerdict, isServing, type ServingNow } from "./downtime-verdict.ts";
import { type Gate, gatesOf } from "./gates/gate.ts";
import { WHOLE } from "./rollout-begin.ts";
import { sideBySideOf, wantedAfterDeploy } from "./rollout-grant.ts";
import { hookSteps } from "./rollout-hooks.ts";
import type { TrafficStep } from "./rollout-state.ts";
import { counted, percent } from "./rollout-words.ts";
import { secretChanges } from "./secrets/secret-changes.ts";
import type { SecretVersions } from "./secrets/secret-tables.ts";

type Plan = MessageInitShape<typeof deployment.PlanResponseSchema>;

/** What a plan is made from. */
export interface PlanScene extends ServingNow {
  /** How the program's files differ; undefined if there is no revision yet. */
  program: Plan["program"] | undefined;
  /** The versions of its secrets that a deploy would take. */
  secrets: SecretVersions;
}

/** What a deploy of this manifest would change, do, and cost in lost requests. */
export function planDeploy(manifest: Manifest, scene: PlanScene): Plan {
  const { record, program, secrets } = scene;
  const current = record?.revisions.get(record.currentRevision);
  return {
    service: manifest.name,
    currentRevision: BigInt(record?.currentRevision ?? 0),
    changes: [...manifestDiff(current?.manifest, manifest), ...secretChanges(current?.secrets, secrets)],
    ...downtimeVerdict(manifest, scene),
    steps: [...steps(manifest, scene), ...hookSteps(manifest, "after_deploy")],
    ...(program ? { program } : {}),
  };
}

function steps(manifest: Manifest, { record, program }: PlanScene): string[] {
  const { run, health, rollout } = manifest;
  const wanted = wantedAfterDeploy(manifest, record);
  const check = health.http === undefined ? "accepts connections" : `answers GET ${health.http} with 2xx or 3xx`;
  const before = [
    releaseStep(run, program),
    ...hookSteps(manifest, "before_deploy"),
    ...(run.release === undefined ? [] : [`run once, before traffic shifts: ${run.release}`]),
  ];
  if (!isServing(record)) {
    const start = `start ${counted(wanted, "replica")}, wait until each ${check}${gatesAt(manifest, "start")}, give them traffic`;
    return [...before, start];
  }
  if (rollout.strategy !== "rolling") return [...before, ...sideBySideSteps(manifest, wanted, check)];
  const batch = Math.min(wanted, surgeReplicas(rollout.maxSurge, wanted));
  return [
    ...before,
    `start ${batch} of ${wanted} new replicas at a time, wait until each ${check}${gatesAt(manifest, "start")}, give them traffic${gatesAt(manifest, "traffic")}`,
    `drain as many old replicas, for at most ${rollout.drainTimeoutMs / 1000} s, and stop them`,
  ];
}

/** ", ask the gates smoke and values, run the hook …": those of a moment. */
function gatesAt(manifest: Manifest, moment: Gate["at"]): string {
  const names = gatesOf(manifest).flatMap(({ at, name }) => (at === moment ? [name] : []));
  const hooks = moment === "start" ? hookSteps(manifest, "before_traffic").map((words) => `, ${words}`) : [];
  if (names.length === 0) return hooks.join("");
  return `, ask the gate${names.length > 1 ? "s" : ""} ${names.join(", ")}${hooks.join("")}`;
}

function sideBySideSteps(manifest: Manifest, wanted: number, health: string): string[] {
  const { rollout } = manifest;
  const check = `${health}${gatesAt(manifest, "start")}`;
  const watched = gatesAt(manifest, "traffic");
  const isManual = rollout.promote === "manual";
  const { steps = [], warmMs } = sideBySideOf({ rollout }).sideBySide ?? { warmMs: 0 };
  const hold = ({ holdMs }: TrafficStep) => {
    if (holdMs === undefined) return ", wait until somebody promotes it";
    return holdMs === 0 ? watched : `, watch it for ${holdMs / 1000} s${watched}`;
  };
  const lines = steps.map((step) => {
    if (step.share === 0)
      return `start ${wanted} new replicas beside the old ones, wait until each ${check}, open the preview${hold(step)}`;
    if (rollout.strategy === "blue-green") return "give them all traffic at once";
    const needed = Math.max(1, Math.ceil((wanted * step.share) / WHOLE));
    return `have ${needed} of ${wanted} new replicas of which each ${check}, give them ${percent(step.share)} of the traffic${hold(step)}`;
  });
  const warm =
    warmMs > 0
      ? [`keep the old replicas ready for ${warmMs / 1000} s: going back is a change of traffic only${watched}`]
      : [];
  const drainS = rollout.drainTimeoutMs / 1000;
  const undo = isManual
    ? "hms-sys abort undoes it at any moment"
    : "if a new replica does not bear it, the old ones have everything again at once";
  return [...lines, ...warm, `drain the old replicas, for at most ${drainS} s, and stop them; until then ${undo}`];
}

function releaseStep({ directory, build }: Manifest["run"], program: PlanScene["program"]): string {
  const isSame = program !== undefined && program.notCompared === "" && program.digestBefore === program.digestAfter;
  if (isSame) return "use the release of the current revision again: the program is the same";
  const copy = `copy the program from ${directory}`;
  return build === undefined ? copy : `${copy} and run: ${build}`;
}
