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
const KEPT_PREFIX = /^(?::|hms-|grpc-|connect-|proxy-|sec-|x-forwarded-)/;

/** What of a request's header fields goes with the call; "-bin" values stay base64, as they travel. */
export function metadataOf(header: Headers): Metadata {
  const metadata: Record<string, string> = Object.create(null);
  for (const [name, value] of header) if (isAboutTheCall(name)) metadata[name] = value;
  return Object.freeze(metadata);
}

const NAME = /^[a-z0-9][a-z0-9_.-]*$/;
const VALUE = /^[\x20-\x7e]*$/;

/**
 * The header fields that a call's metadata becomes, by the same rule; what the caller may not say of the request, and
 * what cannot be a field, is left out. Its authorization goes along.
 */
export function headerOf(metadata: Metadata): Headers {
  const header = new Headers();
  for (const [name, value] of Object.entries(metadata)) {
    const isField = NAME.test(name) && VALUE.test(value);
    if (isField && (name === "authorization" || isAboutTheCall(name))) header.set(name, value);
  }
  return header;
}

const isAboutTheCall = (name: string) => !KEPT.has(name) && !KEPT_PREFIX.test(name);
