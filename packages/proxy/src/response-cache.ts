import type { Buffer } from "node:buffer";
import type { ResponseHead } from "./response-head.ts";

/** An answer that is kept. */
export interface StoredAnswer {
  readonly statusText: string;
  /** Its fields, each with its line end. */
  readonly lines: string;
  readonly body: Buffer;
  readonly storedAt: number;
  readonly until: number;
}

const MOST_BYTES = 32 * 1024 * 1024;
/** Larger answers are not kept. */
export const MOST_BODY_BYTES = 1024 * 1024;

/** Fields of a request that say nothing about its answer, unless the answer's Vary names them. */
const WITHOUT_MEANING =
  /^(?:user-agent|referer|dnt|priority|cache-control|pragma|sec-.*|x-request-id|accept-charset|save-data|te)$/;
/** With one of these the answer is for somebody, or is a part, or depends on what the client has. */
const OWN = /^(?:cookie|authorization|range|if-.*|x-api-key)$/;

/** What an answer to a request would be kept under; undefined: it is not to be kept, nor answered from what is kept. */
export function cacheKey(parts: readonly string[], rawHeaders: readonly string[]): string | undefined {
  const fields: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    if (OWN.test(name)) return undefined;
    if (name === "cache-control" && /no-(?:cache|store)/i.test(rawHeaders[i + 1] as string)) return undefined;
    if (WITHOUT_MEANING.test(name) || TREATED.has(name)) continue;
    fields.push(`${name}:${rawHeaders[i + 1] as string}`);
  }
  return [...parts, ...fields.sort()].map((part) => `${part.length}:${part}`).join("\n");
}

/** Said by the gateway itself, or for the connection only. */
const TREATED = new Set(
  "host connection keep-alive proxy-connection x-forwarded-for x-forwarded-proto x-forwarded-host traceparent tracestate".split(
    " ",
  ),
);

/** For how long an answer may be kept (RFC 9111), in milliseconds; 0: not at all. */
export function freshnessOf(head: ResponseHead, mostMs: number): number {
  if (head.status !== 200) return 0;
  const said: Said = { control: undefined, expiry: Number.POSITIVE_INFINITY, isOwn: false };
  for (const line of head.lines.split("\r\n")) {
    const at = line.indexOf(":");
    const value = line.slice(at + 1).trim();
    note(said, line.slice(0, at).toLowerCase(), value.toLowerCase());
  }
  if (said.isOwn) return 0;
  return Math.min(mostMs, said.control ?? said.expiry);
}

/** What the fields of an answer say of keeping it. */
interface Said {
  control: number | undefined;
  expiry: number;
  /** It is for one client, or varies by what no key has. */
  isOwn: boolean;
}

function note(said: Said, name: string, value: string): void {
  if (name === "set-cookie" || (name === "pragma" && value.includes("no-cache"))) said.isOwn = true;
  else if (name === "vary") said.isOwn ||= !value.split(",").every((field) => isKeyed(field.trim()));
  else if (name === "cache-control")
    said.control = Math.min(said.control ?? Number.POSITIVE_INFINITY, allowedBy(value));
  // What is no date has passed (RFC 9111 §5.3).
  else if (name === "expires") said.expiry = Math.max(Date.parse(value) - Date.now(), 0) || 0;
}

/** Whether a request field is a part of every key. */
function isKeyed(field: string): boolean {
  return field !== "*" && !WITHOUT_MEANING.test(field);
}

function allowedBy(cacheControl: string): number {
  if (/(?:^|[\s,])(?:no-store|no-cache|private)(?:$|[\s,=])/.test(cacheControl)) return 0;
  const age = /(?:^|[\s,])s-maxage="?(\d+)/.exec(cacheControl) ?? /(?:^|[\s,])max-age="?(\d+)/.exec(cacheControl);
  return age ? Number(age[1]) * 1000 : Number.POSITIVE_INFINITY;
}

/** Answers of services, 32 MiB of them; those that were not asked for the longest time go first. */
export class ResponseCache {
  readonly #answers = new Map<string, StoredAnswer>();
  #bytes = 0;
  /** Changes whenever everything is forgotten; a part of every key, so that nothing comes in late. */
  generation = 0;
  hits = 0;
  misses = 0;

  /** What is kept under a key, if it is still fresh. */
  find(key: string, now: number): StoredAnswer | undefined {
    const found = this.#answers.get(key);
    if (found === undefined || found.until <= now) {
      if (found) this.#drop(key, found);
      this.misses++;
      return undefined;
    }
    this.#answers.delete(key);
    this.#answers.set(key, found);
    this.hits++;
    return found;
  }

  /** Keeps an answer. */
  store(key: string, answer: StoredAnswer): void {
    const before = this.#answers.get(key);
    if (before) this.#drop(key, before);
    this.#answers.set(key, answer);
    this.#bytes += sizeOf(key, answer);
    for (const [oldest, kept] of this.#answers) {
      if (this.#bytes <= MOST_BYTES) return;
      this.#drop(oldest, kept);
    }
  }

  /** Forgets everything: routes have changed. */
  clear(): void {
    this.generation++;
    this.#answers.clear();
    this.#bytes = 0;
  }

  #drop(key: string, answer: StoredAnswer): void {
    this.#answers.delete(key);
    this.#bytes -= sizeOf(key, answer);
  }
}

function sizeOf(key: string, { lines, body }: StoredAnswer): number {
  return 2 * (key.length + lines.length) + body.length;
}
