import type { MessageInitShape } from "@bufbuild/protobuf";
import type { agent, mesh } from "@hms/contracts";
import type { Manifest } from "@hms/manifest";
import type { ProgramSecrets } from "./secrets/secret-vault.ts";
import type { RevisionRecord, ServiceKey } from "./service-record.ts";

/** How a replica is looked at; from the manifest. */
export interface HealthRule {
  /** A path: any 2xx or 3xx is well. Undefined: a connection is. */
  http: string | undefined;
  intervalMs: number;
  timeoutMs: number;
  rise: number;
  fall: number;
}

/** How the programs of an environment reach the mesh. */
export type MeshAccess = Pick<agent.MeshAccess, "dnsAddress" | "proxyUrl">;

/** What a replica is given beside what its manifest says. */
export interface ReplicaSurroundings {
  mesh: MeshAccess;
  /** Variables by which it calls the platform. */
  credentials: Readonly<Record<string, string>>;
  /** As they are: sealed. */
  secrets: ProgramSecrets;
}

/** What the runtime needs to run a replica of a revision. */
export function replicaSpec(
  { environment, service, id }: ServiceKey & { id: string },
  { revision, manifest, releaseDigest }: RevisionRecord,
  { mesh: access, credentials, secrets }: ReplicaSurroundings,
): MessageInitShape<typeof agent.ReplicaSpecSchema> {
  return {
    replicaId: id,
    environment,
    service,
    revision: BigInt(revision),
    releaseDigest,
    command: manifest.run.command,
    env: { ...manifest.env, ...credentials },
    ...secrets,
    limits: resourceLimits(manifest),
    stopGraceMs: BigInt(manifest.stopGraceMs),
    mesh: access,
  };
}

/** The limits of a manifest's replicas. */
export function resourceLimits({ resources }: Manifest): MessageInitShape<typeof agent.ResourceLimitsSchema> {
  return {
    memoryBytes: BigInt(resources.memoryBytes ?? 0),
    cpuMillicores: resources.cpuMillicores ?? 0,
    maxProcesses: resources.processes,
  };
}

/** How a manifest's replicas are looked at. */
export function healthRule({ health }: Manifest): HealthRule {
  const { intervalMs, timeoutMs, rise, fall } = health;
  return { http: health.http, intervalMs, timeoutMs, rise, fall };
}

/** How requests to a manifest's service are treated. */
export function trafficPolicy({ mesh: rules }: Manifest): MessageInitShape<typeof mesh.TrafficPolicySchema> {
  // Manifests that older versions have stored know of no breaker.
  const { failures, openMs } = (rules as Partial<typeof rules>).breaker ?? { failures: undefined, openMs: 0 };
  return {
    requestTimeoutMs: BigInt(rules.requestTimeoutMs),
    connectTimeoutMs: BigInt(rules.connectTimeoutMs),
    retries: rules.retry.attempts,
    retryPost: rules.retry.post,
    ...(failures === undefined ? {} : { breaker: { failures, openMs: BigInt(openMs) } }),
  };
}

/** Where other programs find a service: one URL for each route, or its name alone. */
export function serviceUrls(manifest: Manifest): string[] {
  const paths = manifest.routes.length > 0 ? manifest.routes.map(({ path }) => path) : [""];
  return [...new Set(paths.map((path) => `http://${manifest.name}.mesh${path}`))];
}
