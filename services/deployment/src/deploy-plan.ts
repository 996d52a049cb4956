import type { MessageInitShape } from "@bufbuild/protobuf";
import type { deployment } from "@hms/contracts";
import { type Manifest, manifestDiff, surgeReplicas } from "@hms/manifest";
import { wantedAfterDeploy } from "./rollout-grant.ts";
import type { ServiceRecord } from "./service-record.ts";

const TCP_ONLY =
  "The health check only connects: a program that accepts connections before it is ready gets traffic too early. Set health.http.";

/** What a person should know before a deploy of this manifest. */
export function deployWarnings({ health }: Manifest): string[] {
  return health.http === undefined ? [TCP_ONLY] : [];
}

/** What a deploy of this manifest would change, do, and cost in lost requests. */
export function planDeploy(
  manifest: Manifest,
  record: ServiceRecord | undefined,
): MessageInitShape<typeof deployment.PlanResponseSchema> {
  const current = record?.revisions.get(record.currentRevision)?.manifest;
  return {
    service: manifest.name,
    currentRevision: BigInt(record?.currentRevision ?? 0),
    changes: manifestDiff(current, manifest),
    zeroDowntime: true,
    zeroDowntimeReasons: [...reasons(manifest, record), ...deployWarnings(manifest)],
    steps: steps(manifest, record),
  };
}

const serves = (record: ServiceRecord | undefined) =>
  record?.replicas.some(({ traffic, phase }) => traffic === "active" && phase === "running") ?? false;

function reasons({ rollout }: Manifest, record: ServiceRecord | undefined): string[] {
  if (!serves(record)) return ["Nothing serves now, so no request can be lost."];
  const found = [
    "New replicas take traffic, confirmed by every data plane, before old ones give it up; requests that run are finished first.",
  ];
  if (rollout.drainTimeoutMs < 1000) {
    found.push(`Requests that run longer than rollout.drain_timeout (${rollout.drainTimeoutMs} ms) are cut.`);
  }
  return found;
}

function steps(manifest: Manifest, record: ServiceRecord | undefined): string[] {
  const { run, health, rollout } = manifest;
  const wanted = wantedAfterDeploy(manifest, record);
  const check = health.http === undefined ? "accepts connections" : `answers GET ${health.http} with 2xx or 3xx`;
  const copy = `copy the program from ${run.directory} (whether its files differ is known only then)`;
  const before = [
    run.build === undefined ? copy : `${copy} and run: ${run.build}`,
    ...(run.release === undefined ? [] : [`run once, before traffic shifts: ${run.release}`]),
  ];
  if (!serves(record)) return [...before, `start ${wanted} replicas, wait until each ${check}, give them traffic`];
  const batch = Math.min(wanted, surgeReplicas(rollout.maxSurge, wanted));
  return [
    ...before,
    `start ${batch} of ${wanted} new replicas at a time, wait until each ${check}, give them traffic`,
    `drain as many old replicas, for at most ${rollout.drainTimeoutMs / 1000} s, and stop them`,
  ];
}
