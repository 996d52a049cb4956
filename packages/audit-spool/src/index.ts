export { type AuditSpool, type AuditSpoolOptions, openAuditSpool } from "./audit-spool.ts";
export { type SpoolBatch, type SpoolPosition, SpoolReader } from "./spool-reader.ts";
export { SPOOL_BYTES, type SpoolSize, spoolLimit, spoolMaxBytes, spoolSizes } from "./spool-sizes.ts";
