import { createHash } from "node:crypto";

/** The number of an advisory lock with this name: 64 bits of SHA-256, as decimal text. Locks are per database. */
export function lockKey(name: string): string {
  return createHash("sha256").update(`hms:${name}`).digest().readBigInt64BE(0).toString();
}
