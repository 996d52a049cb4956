import { HmsError, type Metadata } from "@hms/kernel";
import { FieldReader, varintBytes, writeVarint } from "./field-reader.ts";

/** Tag of Request.metadata, a KeyValue. */
const METADATA_TAG = 0x2a;
const METADATA_FIELD = 5;
const KEY_TAG = 0x0a;
const VALUE_TAG = 0x12;

/** The most metadata a request may carry. */
export const MAX_METADATA_BYTES = 64 * 1024;

const pairs = new FieldReader();

/** Reads one KeyValue into `into`; names become lower case, a repeated name's values are joined by ", ". */
export function readPair(bytes: Buffer, range: { from: number; to: number }, into: Record<string, string>): void {
  let key = "";
  let value = "";
  pairs.reset(bytes, range.from, range.to);
  while (pairs.next()) {
    if (pairs.field === 1) key = bytes.toString("utf8", pairs.from, pairs.to).toLowerCase();
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
  const [only] = pairs;
  return pairs.length === 1 && only !== undefined ? only : Buffer.concat(pairs, length);
}
