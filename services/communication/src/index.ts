export type { CommunicationTables } from "./audit/audit-tables.ts";
export { type ForwardSpoolOptions, forwardSpool } from "./audit/forward-spool.ts";
export { type AuditLog, type AuditLogOptions, openAuditLog } from "./audit/open-audit-log.ts";

/** The folder of the communication service's migrations. */
export const communicationMigrations: URL = new URL("../migrations/", import.meta.url);

/**
 * The folder of the migrations of the log's own schema, `audit_log`: opened after the service's, so that its role can be
 * given what it may do there.
 */
export const auditLogMigrations: URL = new URL("../log-migrations/", import.meta.url);
