import { randomBytes } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Metadata } from "@hms/kernel";

/** Fields that reach handlers beside those that begin with "x-". */
const PASSED = ["traceparent", "tracestate", "baggage", "last-event-id"];
const IDEMPOTENCY_KEY = "x-hms-idempotency-key";
/** Fields about the way here, or read by the edge itself. */
const KEPT = /^x-(?:forwarded-|real-ip$|hms-(?:timeout-ms|environment)$)/;
const REQUEST_ID = /^[\x21-\x7e]{1,128}$/;

const prefix = randomBytes(8).toString("hex");
let count = 0;

/** The caller's request id if it is a sane one (1 to 128 visible characters), else one of our own. */
export function requestIdOf(headers: IncomingHttpHeaders): string {
  const given = headers["x-request-id"];
  if (typeof given === "string" && REQUEST_ID.test(given)) return given;
  count += 1;
  return `${prefix}${count.toString(16).padStart(8, "0")}`;
}

/** What of a request's fields goes with the call: trace context, idempotency key, and what begins with "x-". */
export function metadataOf(headers: IncomingHttpHeaders, requestId: string): Metadata {
  const metadata: Record<string, string> = { "x-request-id": requestId };
  for (const name of PASSED) {
    const value = headers[name];
    if (value !== undefined) metadata[name] = value as string;
  }
  // The name that HTTP APIs use for what calls carry under ours.
  const key = headers["idempotency-key"];
  if (key !== undefined) metadata[IDEMPOTENCY_KEY] = key as string;
  for (const name in headers) {
    if (name.charCodeAt(0) !== 120 || name.charCodeAt(1) !== 45 || name === "x-request-id" || KEPT.test(name)) continue;
    metadata[name] = headers[name] as string;
  }
  return metadata;
}
