import type { MessageInitShape } from "@bufbuild/protobuf";
import type { deployment } from "@hms/contracts";
import { type Manifest, manifestDiff, surgeReplicas } from "@hms/manifest";
import type { RevisionRecord } from "./records.ts";

/** What a deploy of this manifest would change, do, and cost in lost requests. */
export function planDeploy(
  manifest: Manifest,
  current: RevisionRecord | undefined,
  wanted: number,
): MessageInitShape<typeof deployment.PlanResponseSchema> {
  const batch = Math.min(wanted, surgeReplicas(manifest.rollout.maxSurge, wanted));
  return {
    service: manifest.name,
    currentRevision: current?.revision ?? 0n,
    changes: manifestDiff(current?.manifest, manifest),
    zeroDowntime: true,
    zeroDowntimeReasons: reasons(manifest, current),
    steps: steps(manifest, current, { wanted, batch }),
  };
}

function reasons(manifest: Manifest, current: RevisionRecord | undefined): string[] {
  const found = [
    current
      ? "New replicas take traffic before old ones give it up; requests that run are finished first."
      : "Nothing serves yet, so nothing can be lost.",
  ];
  if (manifest.health.http === undefined) {
    found.push(
      "The health check only connects: a program that accepts connections before it is ready gets traffic too early. Set health.http.",
    );
  }
  return found;
}

function steps(
  manifest: Manifest,
  current: RevisionRecord | undefined,
  { wanted, batch }: { wanted: number; batch: number },
): string[] {
  const { run, health, rollout } = manifest;
  const check = health.http === undefined ? "accepts connections" : `answers 2xx to GET ${health.http}`;
  return [
    `copy the program from ${run.directory === "." ? "the manifest's folder" : run.directory}${run.build === undefined ? "" : ` and run: ${run.build}`}`,
    ...(run.release === undefined ? [] : [`run once, before traffic shifts: ${run.release}`]),
    `start ${current ? `${batch} of ${wanted} replicas at a time` : replicaCount(wanted)} and wait until each ${check}`,
    ...(current
      ? [`shift traffic, drain as many old replicas for at most ${rollout.drainTimeoutMs / 1000} s, stop them`]
      : ["give them traffic"]),
  ];
}

const replicaCount = (count: number) => (count === 1 ? "1 replica" : `${count} replicas`);
