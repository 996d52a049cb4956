import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { HealthKeeper } from "../health/health-keeper.ts";
import type { ObservedReplicas } from "../observed-replicas.ts";
import type { ServiceRecord } from "../service-record.ts";

const WHOLE_CORE = 1000;
/** The agent measures each 5 s. */
const FRESH_MS = 15_000;

/** What a service's replicas do now. */
export interface ReplicaLoad {
  ready: number;
  /** Average share of their processor time that the ready ones use; undefined: not known of any. */
  cpu: number | undefined;
}

/** The load of the replicas that take requests: of a core each, or of what `resources.cpu` allows them. */
export function replicaLoad(
  record: ServiceRecord,
  { observed, health }: { observed: ObservedReplicas; health: HealthKeeper },
  now: number,
): ReplicaLoad {
  const ready = record.replicas.filter(({ id, traffic }) => traffic === "active" && health.of(id).state === "ready");
  const shares = ready.flatMap(({ id, revision }) => {
    const usage = observed.get(id)?.usage;
    if (usage?.measuredAt === undefined || now - timestampMs(usage.measuredAt) > FRESH_MS) return [];
    const allowed = record.revisions.get(revision)?.manifest.resources.cpuMillicores ?? WHOLE_CORE;
    return [usage.cpuMillicores / allowed];
  });
  const cpu = shares.length > 0 ? shares.reduce((sum, share) => sum + share, 0) / shares.length : undefined;
  return { ready: ready.length, cpu };
}
