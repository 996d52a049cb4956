export { type AuditSpool, openAuditSpool } from "./audit-spool.ts";
