import type { InstancePaths } from "@hms/config";
import type { HmsError } from "@hms/kernel";
import type { ServiceDatabase } from "@hms/postgres";
import type { SealingKey } from "@hms/secrets";
import { type AuditLog, type CommunicationTables, openAuditLog } from "@hms/service-communication";
import type { Logger } from "@hms/telemetry";

/** What the audit log stands on in a server. */
export interface CommunicationGround {
  paths: InstancePaths;
  sealing: SealingKey;
  database: ServiceDatabase<CommunicationTables>;
  /** Where checkpoints are sent beside the file; undefined: nowhere. */
  sinkUrl: string | undefined;
  /** Days that are kept; undefined: what the service thinks right. */
  keepDays: number | undefined;
  log: Logger;
}

/** Opens the communication service: the audit log that empties the spools of all processes of this machine. */
export function openCommunication({
  paths,
  sealing,
  database,
  sinkUrl,
  keepDays,
  log,
}: CommunicationGround): Promise<AuditLog> {
  return openAuditLog({
    database,
    spools: paths.audit,
    keys: paths.auditKeys,
    sealing,
    sinkUrl,
    keepDays,
    onFailure: (error: HmsError) => log.error("the audit log has to wait", { error }),
  });
}
