import type { Metadata } from "./call-context.ts";

/**
 * Names that mean something to what carries a message, or to a browser: about the connection, the message's form, who
 * asks, caches, and what a page may do.
 */
const RESERVED = new Set([
  "accept",
  "accept-charset",
  "accept-encoding",
  "accept-language",
  "accept-ranges",
  "age",
  "allow",
  "alt-svc",
  "authorization",
  "baggage",
  "cache-control",
  "clear-site-data",
  "connection",
  "cookie",
  "cookie2",
  "date",
  "dnt",
  "etag",
  "expect",
  "expires",
  "forwarded",
  "from",
  "host",
  "http2-settings",
  "keep-alive",
  "last-modified",
  "link",
  "location",
  "origin",
  "pragma",
  "priority",
  "range",
  "referer",
  "referrer-policy",
  "refresh",
  "retry-after",
  "server",
  "set-cookie",
  "set-cookie2",
  "sourcemap",
  "strict-transport-security",
  "te",
  "traceparent",
  "tracestate",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "upgrade-insecure-requests",
  "user-agent",
  "vary",
  "via",
  "warning",
  "www-authenticate",
  "x-content-type-options",
  "x-frame-options",
  "x-permitted-cross-domain-policies",
  "x-real-ip",
  "x-request-id",
  "x-sendfile",
  "x-sourcemap",
  "x-user-agent",
  "x-xss-protection",
]);
/** The platform's own, other protocols', proxies', and what browsers keep for themselves. */
const RESERVED_PREFIX =
  /^(?:hms-|x-hms-|grpc-|connect-|trailer-|content-|access-control-|cross-origin-|if-|proxy-|sec-|x-accel-|x-forwarded-)/;
const NAME = /^[a-z0-9][a-z0-9_.-]*$/;
const PRINTABLE = /^[\x20-\x7e]*$/;
/** Many peers take 8 KiB of fields for a whole message, and there are others. */
const MOST_BYTES = 6 * 1024;

/** Who reads the fields: a browser may, except where only gRPC is spoken. */
export type FieldReaders = "grpc" | "anybody";

/**
 * What of the metadata beside the answers of one call travels as fields of HTTP, in gRPC, gRPC-Web, Connect and REST: where
 * anybody may read, names that begin with "x-" or end with "-bin"; in gRPC every name; and never what is reserved
 * (docs/wire.md). Values are printable ASCII, and all of it takes 6 KiB at most; the rest is left out.
 */
export class AnswerFields {
  readonly #readers: FieldReaders;
  #left = MOST_BYTES;

  constructor(readers: FieldReaders) {
    this.#readers = readers;
  }

  /** The fields that a piece of the metadata becomes. */
  of(metadata: Metadata): [name: string, value: string][] {
    return Object.entries(metadata).filter(([name, value]) => {
      if (!isCarried(name, this.#readers) || !PRINTABLE.test(value)) return false;
      this.#left -= name.length + value.length;
      return this.#left >= 0;
    });
  }
}

/** What fields beside the answer of another server say, as metadata; undefined if that is nothing. */
export function metadataOfFields(fields: Iterable<readonly [name: string, value: string]>): Metadata | undefined {
  const carried = [...fields].filter(([name]) => isCarried(name, "grpc"));
  return carried.length === 0 ? undefined : Object.fromEntries(carried);
}

function isCarried(name: string, readers: FieldReaders): boolean {
  if (!NAME.test(name) || RESERVED.has(name) || RESERVED_PREFIX.test(name)) return false;
  return readers === "grpc" || name.startsWith("x-") || name.endsWith("-bin");
}
