import type { MessageInitShape } from "@bufbuild/protobuf";
import type { deployment } from "@hms/contracts";
import { type Manifest, manifestDiff, surgeReplicas } from "@hms/manifest";
import { downtimeVerdict, isServing, type ServingNow } from "./downtime-verdict.ts";
import { wantedAfterDeploy } from "./rollout-grant.ts";

type Plan = MessageInitShape<typeof deployment.PlanResponseSchema>;

/** What a plan is made from. */
export interface PlanScene extends ServingNow {
  /** How the program's files differ; undefined if there is no revision yet. */
  program: Plan["program"] | undefined;
}

/** What a deploy of this manifest would change, do, and cost in lost requests. */
export function planDeploy(manifest: Manifest, scene: PlanScene): Plan {
  const { record, program } = scene;
  const current = record?.revisions.get(record.currentRevision)?.manifest;
  return {
    service: manifest.name,
    currentRevision: BigInt(record?.currentRevision ?? 0),
    changes: manifestDiff(current, manifest),
    ...downtimeVerdict(manifest, scene),
    steps: steps(manifest, scene),
    ...(program ? { program } : {}),
  };
}

function steps(manifest: Manifest, { record, program }: PlanScene): string[] {
  const { run, health, rollout } = manifest;
  const wanted = wantedAfterDeploy(manifest, record);
  const check = health.http === undefined ? "accepts connections" : `answers GET ${health.http} with 2xx or 3xx`;
  const before = [
    releaseStep(run, program),
    ...(run.release === undefined ? [] : [`run once, before traffic shifts: ${run.release}`]),
  ];
  if (!isServing(record)) return [...before, `start ${wanted} replicas, wait until each ${check}, give them traffic`];
  const batch = Math.min(wanted, surgeReplicas(rollout.maxSurge, wanted));
  return [
    ...before,
    `start ${batch} of ${wanted} new replicas at a time, wait until each ${check}, give them traffic`,
    `drain as many old replicas, for at most ${rollout.drainTimeoutMs / 1000} s, and stop them`,
  ];
}

function releaseStep({ directory, build }: Manifest["run"], program: PlanScene["program"]): string {
  const isSame = program !== undefined && program.notCompared === "" && program.digestBefore === program.digestAfter;
  if (isSame) return "use the release of the current revision again: the program is the same";
  const copy = `copy the program from ${directory}`;
  return build === undefined ? copy : `${copy} and run: ${build}`;
}
