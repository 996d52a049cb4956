import { randomFillSync } from "node:crypto";

const pool = Buffer.allocUnsafeSlow(8192);
let hex = "";
let next = 0;

/** Random lower-case hex digits; one system call serves hundreds of ids. At most 64 digits. */
export function randomHex(digits: number): string {
  if (next + digits > hex.length) {
    randomFillSync(pool);
    hex = pool.toString("hex");
    next = 0;
  }
  const id = hex.slice(next, next + digits);
  next += digits;
  return id;
}

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?$/;

/** The header for the next hop: the caller's trace with a span of our own, or null if the caller's is not valid (W3C Trace Context). */
export function continueTrace(traceparent: string): string | null {
  if (!TRACEPARENT.test(traceparent)) return null;
  const isKnownVersion = traceparent.startsWith("00-");
  if (isKnownVersion && traceparent.length !== 55) return null;
  return `00-${traceparent.slice(3, 35)}-${randomHex(16)}-${traceparent.slice(53, 55)}`;
}

/** A header that starts a trace of that id, sampled as a root span would be by default. */
export function startTrace(traceId: string): string {
  return `00-${traceId}-${randomHex(16)}-01`;
}

const REQUEST_ID = /^[A-Za-z0-9._~:@/+=-]{1,128}$/;

/** Whether a caller's request id is kept: 1 to 128 characters without spaces, quotes or control characters. */
export function isRequestId(value: string): boolean {
  return REQUEST_ID.test(value);
}
