import { ffiOptions } from "@hms/contracts";

const { NONE, METADATA, REQUEST } = ffiOptions.AuditLevel;

/** How policies say what a call leaves in the audit log. */
export const AUDIT_LEVELS: Readonly<Record<string, ffiOptions.AuditLevel>> = {
  none: NONE,
  standard: METADATA,
  metadata: METADATA,
  detailed: REQUEST,
  full: REQUEST,
  request: REQUEST,
};
