import { randomFillSync } from "node:crypto";

const ID_BYTES = 12;
/** Asking the system costs as much for one id as for many. */
const pool = Buffer.allocUnsafeSlow(ID_BYTES * 256);
let at = pool.length;

/** An id that nobody else makes: 96 random bits as 24 hexadecimal digits. */
export function randomId(): string {
  if (at === pool.length) {
    randomFillSync(pool);
    at = 0;
  }
  at += ID_BYTES;
  return pool.toString("hex", at - ID_BYTES, at);
}
