import { auditEventBytes, LOG_SHARD } from "@hms/audit-log";
import { componentPrincipal } from "@hms/kernel";
import type { LogBatch } from "./log-appender.ts";

const COMMUNICATION = componentPrincipal("hms.communication");

/** What the log says of itself. */
export type OwnDeed = "Heartbeat" | "SpoolDamaged" | "DaysRemoved";

/** An event of the log's own chain. */
export function ownEvent(deed: OwnDeed, details: object): LogBatch {
  const event = auditEventBytes({
    time: new Date(),
    principal: COMMUNICATION,
    method: `hms.communication.v1.AuditLog/${deed}`,
    permission: "",
    resource: "",
    outcome: "OK",
    reason: "",
    requestId: "",
    details,
  });
  return { shard: LOG_SHARD, events: [event] };
}
