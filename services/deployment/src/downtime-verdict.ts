import type { Manifest } from "@hms/manifest";
import { wantedAfterDeploy } from "./rollout-grant.ts";
import type { ServiceRecord } from "./service-record.ts";

/** Whether a deploy loses requests, and why, one sentence each. */
export interface DowntimeVerdict {
  zeroDowntime: boolean;
  zeroDowntimeReasons: string[];
}

/** What serves while a deploy is planned. */
export interface ServingNow {
  record: ServiceRecord | undefined;
  /** Replicas that have traffic and pass their health checks. */
  ready: number;
}

const TCP_ONLY =
  "The health check only connects: a program that accepts connections before it is ready gets traffic too early. Set health.http.";
const IN_ORDER =
  "New replicas take traffic, confirmed by every data plane, before old ones give it up; requests that run are finished first.";

/** What a person should know before a deploy of this manifest. */
export function deployWarnings({ health }: Manifest): string[] {
  return health.http === undefined ? [TCP_ONLY] : [];
}

/** True if a replica of the service has traffic. */
export const isServing = (record: ServiceRecord | undefined): boolean =>
  record?.replicas.some(({ traffic, phase }) => traffic === "active" && phase === "running") ?? false;

/**
 * Whether requests can fail because of a deploy of this manifest. Yes is said only if nothing is known that makes them
 * fail; a "no" names each cause and what to do about it.
 */
export function downtimeVerdict(manifest: Manifest, now: ServingNow): DowntimeVerdict {
  const { record, ready } = now;
  if (record === undefined || !isServing(record)) return yes("Nothing serves now, so no request can be lost.");
  const served = record.revisions.get(record.trafficRevision)?.manifest;
  if (ready === 0) {
    return yes("No replica is healthy now, so there is nothing to lose: all are replaced at once.");
  }
  const causes = [
    ...cutRequests(manifest, served),
    ...deployWarnings(manifest),
    ...(served === undefined ? [] : [...lostRoutes(manifest, served), ...lostPort(manifest, served)]),
  ];
  if (causes.length > 0) return { zeroDowntime: false, zeroDowntimeReasons: [...causes, ...remarks(manifest, record)] };
  return yes(IN_ORDER, ...remarks(manifest, record));
}

const yes = (...zeroDowntimeReasons: string[]): DowntimeVerdict => ({ zeroDowntime: true, zeroDowntimeReasons });

const seconds = (ms: number) => `${ms / 1000} s`;

function cutRequests({ rollout }: Manifest, served: Manifest | undefined): string[] {
  const drainMs = rollout.drainTimeoutMs;
  if (drainMs === 0) {
    return [
      "rollout.drain_timeout is 0 s: requests that run when their replica is replaced are cut. Give them time to finish, as the default of 30 s does.",
    ];
  }
  const answerMs = served?.mesh.requestTimeoutMs ?? 0;
  if (drainMs >= answerMs) return [];
  return [
    `Requests may run for ${seconds(answerMs)} (mesh.request_timeout of what serves), but old replicas are stopped after ${seconds(drainMs)} (rollout.drain_timeout): longer ones are cut. Raise rollout.drain_timeout to ${seconds(answerMs)}.`,
  ];
}

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

type Routes = Manifest["routes"];

/** The methods of each path, with those that GET and "all" stand for. */
function methodsByPath(routes: Routes): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const { path, methods } of routes) {
    const all = found.get(path) ?? new Set<string>();
    for (const method of methods.length === 0 ? METHODS : methods) all.add(method);
    if (all.has("GET")) all.add("HEAD");
    found.set(path, all);
  }
  return found;
}

function lostRoutes({ routes }: Manifest, served: Manifest): string[] {
  const after = methodsByPath(routes);
  return [...methodsByPath(served.routes)].flatMap(([path, methods]) => {
    const left = after.get(path);
    const lost = [...methods].filter((method) => left?.has(method) !== true);
    if (lost.length === 0) return [];
    const which = left === undefined ? path : `${lost.join(", ")} ${path}`;
    return [
      `The gateway stops serving ${which}: such requests get 404 unless another route takes them. Keep the route until nobody calls it.`,
    ];
  });
}

function lostPort({ name, port }: Manifest, { port: before }: Manifest): string[] {
  if (before === undefined || before === port || before === 80) return [];
  return [
    `Port ${before} of ${name}.mesh closes: connections to ${name}.mesh:${before} are refused from then on. Keep the port until nobody calls it.`,
  ];
}

/** What cannot make a request fail by itself, but is worth a thought. */
function remarks(manifest: Manifest, record: ServiceRecord): string[] {
  const found: string[] = [];
  const wanted = wantedAfterDeploy(manifest, record);
  if (wanted < record.wanted) {
    found.push(
      `${wanted} ${wanted === 1 ? "replica replaces" : "replicas replace"} ${record.wanted}: fewer carry the same traffic.`,
    );
  }
  if (manifest.run.release !== undefined) {
    found.push("The release command runs while the old version serves: what it changes must suit both.");
  }
  return found;
}
