import type { Metadata } from "@hms/kernel";

/** Fields that are about the request's way or form, or that the edge itself reads. */
const KEPT = new Set([
  "accept",
  "accept-encoding",
  "accept-language",
  "authorization",
  "cache-control",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "cookie",
  "date",
  "dnt",
  "expect",
  "forwarded",
  "host",
  "keep-alive",
  "origin",
  "pragma",
  "priority",
  "proxy-authorization",
  "referer",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "upgrade-insecure-requests",
  "user-agent",
  "via",
  "x-real-ip",
  "x-user-agent",
  "x-grpc-web",
]);
const KEPT_PREFIX = /^(?::|grpc-|connect-|sec-|x-forwarded-)/;

/** What of a request's header fields goes with the call; "-bin" values stay base64, as they travel. */
export function metadataOf(header: Headers): Metadata {
  const metadata: Record<string, string> = Object.create(null);
  for (const [name, value] of header) if (!KEPT.has(name) && !KEPT_PREFIX.test(name)) metadata[name] = value;
  return Object.freeze(metadata);
}
