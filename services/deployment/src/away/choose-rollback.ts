import type { deployment } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { expectedOf, refuseChanged } from "../expected-revision.ts";
import { rollbackTarget, taggedRevision } from "../rollback-target.ts";
import { plannedRollout } from "../rollout-machine.ts";
import { plannedEvent, rolloutEvent } from "../rollout-report.ts";
import type { ReplicaRecord, ServiceRecord } from "../service-record.ts";
import { type SpoolHead, spoolHead } from "./rollback-spool.ts";
import type { ServiceCopy } from "./service-copy.ts";

/** Who asks for a rollback while the database is away, and what is known then. */
export interface RollbackWish {
  request: Pick<deployment.RollbackRequest, "revision" | "tag" | "reason" | "expectedRevision">;
  principal: string;
  rolloutId: string;
  copy: ServiceCopy;
  /** Replicas whose health checks pass. */
  ready: ReadonlySet<string>;
  /** Where it will be kept. */
  file: string;
  now: Date;
}

const isRunning = ({ phase }: ReplicaRecord) => phase === "running";
const isActive = ({ phase, traffic }: ReplicaRecord) => phase === "running" && traffic === "active";

/**
 * What a rollback begins from while the database is away: the same choice of a revision as always, counted from the newest one
 * that has traffic. What a deploy under way has brought is given up, if what served before is there to serve.
 * @throws HmsError FAILED_PRECONDITION, NOT_FOUND as always, and if the service is being stopped or removed
 */
export function chooseRollback(wish: RollbackWish): SpoolHead {
  const { request, principal, rolloutId, copy, file, now } = wish;
  const { record, revisions } = copy;
  refuseEnding(record);
  refuseChanged(record, expectedOf(request));
  const { environment, service, currentRevision } = record;
  const asked = request.tag === "" ? Number(request.revision) : taggedRevision(record, revisions, request.tag);
  const target = rollbackTarget({ ...record, currentRevision: newestWithTraffic(record) }, revisions, asked);
  const givesUp = broughtInVain(wish);
  const found = foundRecord(record, new Set(givesUp));
  const running = { rolloutId, kind: "rollback", phase: "planned", since: now } as const;
  const names = { rolloutId, environment, service, kind: "rollback" as const };
  const planned = plannedRollout({ ...names, revision: target.revision, previousRevision: currentRevision });
  return spoolHead({
    ...{ rolloutId, environment, service, principal, planned, givesUp },
    reason: request.reason === "" ? MADE_AWAY : `${request.reason} (${MADE_AWAY})`,
    version: target.manifest.version,
    startedAt: now.toISOString(),
    copy: { record: { ...found, running }, revisions },
    event: rolloutEvent(rolloutId, plannedEvent(planned, warnings(file, record))),
  });
}

const MADE_AWAY = "rolled back while the database was away";

function warnings(file: string, { running }: ServiceRecord): string[] {
  const kept = `The database is away. This rollback is kept in ${file}, and entered into the history when the database is back.`;
  if (running === undefined) return [kept];
  return [kept, `It takes the place of rollout ${running.rolloutId} (${running.kind}), which was under way.`];
}

/** What is left of a service that is asked to end cannot be brought back without knowing how far that came. */
function refuseEnding({ service, running }: ServiceRecord): void {
  if (running?.kind !== "stop" && running?.kind !== "remove") return;
  throw new HmsError(
    "UNAVAILABLE",
    `The database is away, and a ${running.kind} of "${service}" was under way (${running.rolloutId}): it goes on when the database is back.`,
    { reason: "DATABASE_DOWN" },
  );
}

function newestWithTraffic({ currentRevision, replicas }: ServiceRecord): number {
  return Math.max(currentRevision, ...replicas.filter(isActive).map(({ revision }) => revision));
}

/** The replicas of a version that has not taken over yet; none if nothing else is there to serve. */
function broughtInVain({ copy: { record }, ready }: RollbackWish): string[] {
  const { currentRevision, replicas } = record;
  const running = replicas.filter(isRunning);
  const serves = running.some(({ id, revision }) => revision === currentRevision && ready.has(id));
  return serves ? running.filter(({ revision }) => revision > currentRevision).map(({ id }) => id) : [];
}

/** The service with its traffic given back to what served before. */
function foundRecord(record: ServiceRecord, givesUp: ReadonlySet<string>): ServiceRecord {
  if (givesUp.size === 0) return { ...record, split: undefined };
  const replicas = record.replicas.map((replica) => {
    if (replica.phase !== "running") return replica;
    if (givesUp.has(replica.id))
      return replica.traffic === "active" ? { ...replica, traffic: "draining" as const } : replica;
    return replica.traffic === "draining" ? { ...replica, traffic: "active" as const } : replica;
  });
  return { ...record, replicas, split: undefined, trafficRevision: record.currentRevision };
}
