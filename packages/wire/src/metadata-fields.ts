import { HmsError, type Metadata } from "@hms/kernel";
import { FieldReader, varintBytes, writeVarint } from "./field-reader.ts";
import { shortLived } from "./slab.ts";

/** Tag of Request.metadata, a KeyValue. */
const METADATA_TAG = 0x2a;
const METADATA_FIELD = 5;
const KEY_TAG = 0x0a;
const VALUE_TAG = 0x12;

/** The most metadata a request may carry. */
export const MAX_METADATA_BYTES = 64 * 1024;

const pairs = new FieldReader();

const TRACEPARENT = "traceparent";

/** Most calls have this name, which need not be made anew for each. */
function isTraceparent(bytes: Buffer, { from, to }: { from: number; to: number }): boolean {
  if (to - from !== TRACEPARENT.length) return false;
  for (let n = 0; n < TRACEPARENT.length; n += 1) if (bytes[from + n] !== TRACEPARENT.charCodeAt(n)) return false;
  return true;
}

function nameIn(bytes: Buffer, { from, to }: { from: number; to: number }): string {
  return bytes.toString("utf8", from, to).toLowerCase();
}

/** Reads one KeyValue into `into`; names become lower case, a repeated name's values are joined by ", ". */
export function readPair(bytes: Buffer, range: { from: number; to: number }, into: Record<string, string>): void {
  let key = "";
  let value = "";
  pairs.reset(bytes, range.from, range.to);
  while (pairs.next()) {
    if (pairs.field === 1) key = isTraceparent(bytes, pairs) ? TRACEPARENT : nameIn(bytes, pairs);
    else if (pairs.field === 2) value = bytes.toString("utf8", pairs.from, pairs.to);
  }
  pairs.release();
  // No field can be called like that, and no object's member either.
  if (key === "" || key === "__proto__") return;
  const before = Object.hasOwn(into, key) ? into[key] : undefined;
  into[key] = before === undefined ? value : `${before}, ${value}`;
}

/** Reads all the metadata that lies in a range as fields of a Request. @throws MalformedError */
export function readMetadata(bytes: Buffer, range: { from: number; to: number }): Metadata {
  const into: Record<string, string> = {};
  const fields = new FieldReader().reset(bytes, range.from, range.to);
  while (fields.next()) {
    if (fields.field === METADATA_FIELD) readPair(bytes, { from: fields.from, to: fields.to }, into);
  }
  return into;
}

function pairBytes(key: string, value: string): Buffer {
  const k = Buffer.byteLength(key);
  const v = Buffer.byteLength(value);
  const inner = 1 + varintBytes(k) + k + 1 + varintBytes(v) + v;
  const bytes = Buffer.allocUnsafe(1 + varintBytes(inner) + inner);
  bytes[0] = METADATA_TAG;
  let at = writeVarint(bytes, 1, inner);
  bytes[at] = KEY_TAG;
  at = writeVarint(bytes, at + 1, k);
  at += bytes.write(key, at);
  bytes[at] = VALUE_TAG;
  at = writeVarint(bytes, at + 1, v);
  bytes.write(value, at);
  return bytes;
}

/** The longest pair whose lengths all take one byte each. */
const SHORT_CHARACTERS = 120;
/** Where metadata is gathered whose length is not known before. */
const scratch = Buffer.allocUnsafeSlow(SHORT_CHARACTERS * 64);

/** Writes a short text of ASCII behind its tag and length; -1 if it is none. */
function writeText(tag: number, text: string, at: number): number {
  scratch[at] = tag;
  scratch[at + 1] = text.length;
  for (let n = 0; n < text.length; n += 1) {
    const code = text.charCodeAt(n);
    if (code > 0x7f) return -1;
    scratch[at + 2 + n] = code;
  }
  return at + 2 + text.length;
}

/** Writes a pair into the scratch, most are short; -1 if it does not fit there so. */
function writePair(key: string, value: string, at: number): number {
  if (key === "authorization") return writeKept(encodedPair(key, value), at);
  if (
    typeof value !== "string" ||
    key.length + value.length > SHORT_CHARACTERS - 6 ||
    at + SHORT_CHARACTERS > scratch.length
  )
    return -1;
  scratch[at] = METADATA_TAG;
  scratch[at + 1] = 4 + key.length + value.length;
  const middle = writeText(KEY_TAG, key, at + 2);
  return middle < 0 ? -1 : writeText(VALUE_TAG, value, middle);
}

function writeKept(pair: Buffer, at: number): number {
  if (at + pair.length > scratch.length) return -1;
  scratch.set(pair, at);
  return at + pair.length;
}

/** Metadata of short pairs; undefined: it has to be written with more care. */
function shortFields(metadata: Metadata): Buffer | undefined {
  let at = 0;
  for (const key of Object.keys(metadata)) {
    if (key !== key.toLowerCase()) return undefined;
    at = writePair(key, metadata[key] as string, at);
    if (at < 0) return undefined;
  }
  const bytes = shortLived(at);
  scratch.copy(bytes, 0, 0, at);
  return bytes;
}

/** Tickets and tokens are long and go with many calls; only a few are in use at a time. */
const MOST_KEPT = 64;
const kept = new Map<string, Buffer>();

/** The encoded pair, remembered for `authorization`. */
function encodedPair(key: string, value: string): Buffer {
  if (key !== "authorization") return pairBytes(key.toLowerCase(), value);
  let bytes = kept.get(value);
  if (bytes === undefined) {
    bytes = pairBytes(key, value);
    if (kept.size === MOST_KEPT) kept.delete(kept.keys().next().value as string);
    kept.set(value, bytes);
  }
  return bytes;
}

/**
 * Encodes metadata as fields of a Request.
 * @throws HmsError INVALID_ARGUMENT if it is larger than 64 KiB
 */
export function metadataFields(metadata: Metadata): Buffer {
  return onlyKept(metadata) ?? shortFields(metadata) ?? longFields(metadata);
}

/** What is said by nothing but an `authorization`: many calls share it. */
function onlyKept(metadata: Metadata): Buffer | undefined {
  const { authorization } = metadata;
  if (authorization === undefined || Object.keys(metadata).length > 1) return undefined;
  const pair = encodedPair("authorization", authorization);
  return pair.length > MAX_METADATA_BYTES ? undefined : pair;
}

function longFields(metadata: Metadata): Buffer {
  const pairs: Buffer[] = [];
  let length = 0;
  for (const key of Object.keys(metadata)) {
    const pair = encodedPair(key, metadata[key] as string);
    pairs.push(pair);
    length += pair.length;
  }
  if (length > MAX_METADATA_BYTES) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `The call's metadata takes ${length} bytes; at most ${MAX_METADATA_BYTES} can travel. Put large values into the request.`,
    );
  }
  return Buffer.concat(pairs, length);
}
