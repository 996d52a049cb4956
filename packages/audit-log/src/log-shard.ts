/** The chain of what the log says of itself. */
export const LOG_SHARD = "audit-log";
