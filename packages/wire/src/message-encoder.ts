import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { scalarZeroValue } from "@bufbuild/protobuf/reflect";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";

/** A message as protobuf-es holds it. */
type Fields = Record<string, unknown>;

/** google.protobuf.FeatureSet.FieldPresence. */
const PRESENCE = { IMPLICIT: 2, LEGACY_REQUIRED: 3 } as const;

/** Larger messages are left to the library, where copying matters more than what is around it. */
const SCRATCH_BYTES = 64 * 1024;
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
/** Where the next byte goes. */
let at = 0;

/** Writes a value behind its tag; false: it is none that is written here. */
type Put = (value: unknown) => boolean;
/** Writes a field of a message, if it is set; false: it is none that is written here. */
type WriteField = (message: Fields) => boolean;

/**
 * The bytes of a message as protobuf-es writes them, without its buffers for each message; undefined for what is rare,
 * large or wrong: that is the library's.
 */
export function encodeQuickly(desc: DescMessage, message: unknown): Buffer | undefined {
  at = 0;
  if (!writeMessage(desc, message) || at > SCRATCH_BYTES) return undefined;
  const bytes = Buffer.allocUnsafe(at);
  scratch.copy(bytes, 0, 0, at);
  return bytes;
}

/** One for each type of message: what has to be done for a field is worked out once. */
const writers = new WeakMap<DescMessage, WriteField[]>();

function writersOf(desc: DescMessage): WriteField[] {
  let known = writers.get(desc);
  if (known === undefined) {
    known = desc.fields.toSorted((a, b) => a.number - b.number).map(fieldWriter);
    writers.set(desc, known);
  }
  return known;
}

function writeMessage(desc: DescMessage, message: unknown): boolean {
  const fields = message as Fields;
  if (fields.$typeName !== desc.typeName || fields.$unknown !== undefined) return false;
  for (const write of writersOf(desc)) if (!write(fields)) return false;
  return true;
}

const never = () => false;

/** Whether a message in a field is held as itself, and written behind its length. */
function isPlainMessage(field: DescField): boolean {
  const { message } = field;
  if (message === undefined || isWrapperDesc(message) || message.typeName === "google.protobuf.Struct") return false;
  return !("delimitedEncoding" in field && field.delimitedEncoding);
}

function fieldWriter(field: DescField): WriteField {
  if (field.presence === PRESENCE.LEGACY_REQUIRED) return never;
  const { localName } = field;
  if (field.fieldKind === "list") return listWriter(field);
  if (field.fieldKind === "map") return mapWriter(field);
  const put = tagged(field, itemPut(field));
  if (field.oneof) {
    const { localName: group } = field.oneof;
    return (message) => {
      const held = message[group] as { case?: string; value?: unknown };
      return held.case !== localName || put(held.value);
    };
  }
  if (field.fieldKind === "message") {
    return (message) => message[localName] === undefined || put(message[localName]);
  }
  if (field.presence !== PRESENCE.IMPLICIT) {
    return (message) =>
      message[localName] === undefined || !Object.hasOwn(message, localName) || put(message[localName]);
  }
  const isZero = zeroOf(field);
  return (message) => isZero(message[localName]) || put(message[localName]);
}

/** Tells the value that stands for absence. */
function zeroOf({ enum: desc, scalar }: DescField): (value: unknown) => boolean {
  if (scalar === ScalarType.BYTES) return (value) => value instanceof Uint8Array && value.length === 0;
  // Not the same as -0.
  if (scalar === ScalarType.DOUBLE || scalar === ScalarType.FLOAT) return (value) => Object.is(value, 0);
  const zero = desc ? desc.values[0]?.number : scalarZeroValue(scalar as ScalarType, false);
  return (value) => value === zero;
}

/** Writes the tag before each value. */
function tagged(field: DescField, put: Put | undefined): Put {
  if (put === undefined) return never;
  const tag = field.number * 8 + wireType(field);
  return (value) => {
    putVarint(tag);
    return put(value);
  };
}

const isVarint = (type: ScalarType) =>
  type !== ScalarType.STRING && type !== ScalarType.BYTES && type !== ScalarType.DOUBLE;

function wireType({ message, enum: desc, scalar }: DescField): number {
  if (message) return 2;
  if (desc || isVarint(scalar as ScalarType)) return 0;
  return scalar === ScalarType.DOUBLE ? 1 : 2;
}

function listWriter(field: DescField & { fieldKind: "list" }): WriteField {
  const item = itemPut(field);
  const { localName } = field;
  if (item !== undefined && field.packed) {
    const tag = field.number * 8 + 2;
    const putAll = (items: unknown) => (items as unknown[]).every(item);
    return (message) => {
      const items = message[localName] as unknown[];
      if (items.length === 0) return true;
      putVarint(tag);
      return putSized(putAll, items);
    };
  }
  const put = tagged(field, item);
  return (message) => {
    for (const each of message[localName] as unknown[]) if (!put(each)) return false;
    return true;
  };
}

function mapWriter(field: DescField & { fieldKind: "map" }): WriteField {
  const item = field.mapKey === ScalarType.STRING ? itemPut(field) : undefined;
  const { localName } = field;
  if (item === undefined) return (message) => Object.keys(message[localName] as object).length === 0;
  const tag = field.number * 8 + 2;
  const valueTag = 16 + wireType(field);
  const putEntry = (entry: unknown) => {
    const [key, value] = entry as [string, unknown];
    scratch[at] = 10;
    at += 1;
    if (!putText(key)) return false;
    scratch[at] = valueTag;
    at += 1;
    return item(value);
  };
  return (message) => {
    const map = message[localName] as Fields;
    for (const key of Object.keys(map)) {
      putVarint(tag);
      if (!putSized(putEntry, [key, map[key]])) return false;
    }
    return true;
  };
}

/** How a single value is written, whether alone or in a list or map; undefined: by the library. */
function itemPut(field: DescField): Put | undefined {
  if (field.enum) return field.enum.open ? putInt32 : undefined;
  const { message } = field;
  if (message) {
    if (!isPlainMessage(field)) return undefined;
    const put = (value: unknown) => writeMessage(message, value);
    return (value) => typeof value === "object" && value !== null && putSized(put, value);
  }
  if ("longAsString" in field && field.longAsString) return undefined;
  return PUTS[field.scalar as ScalarType];
}

const PUTS: Partial<Record<ScalarType, Put>> = {
  [ScalarType.STRING]: putText,
  [ScalarType.BOOL]: putBool,
  [ScalarType.INT32]: putInt32,
  [ScalarType.UINT32]: putUint32,
  [ScalarType.INT64]: putLong,
  [ScalarType.UINT64]: putLong,
  [ScalarType.DOUBLE]: putDouble,
  [ScalarType.BYTES]: putBytes,
};

function putVarint(value: number): void {
  let rest = value;
  while (rest > 0x7f) {
    scratch[at] = (rest & 0x7f) | 0x80;
    at += 1;
    rest >>>= 7;
  }
  scratch[at] = rest;
  at += 1;
}

/** Writes something behind its length. Most lengths take one byte, so room is made for one. */
function putSized(put: Put, value: unknown): boolean {
  const from = at;
  at += 1;
  if (!put(value) || at > SCRATCH_BYTES) return false;
  const length = at - from - 1;
  if (length <= 0x7f) {
    scratch[from] = length;
    return true;
  }
  const lengthBytes = length < 0x4000 ? 2 : 3;
  scratch.copyWithin(from + lengthBytes, from + 1, at);
  at = from;
  putVarint(length);
  at += length;
  return true;
}

function putText(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const { length } = value;
  if (length > 0x7f) return putLongText(value);
  const from = at;
  scratch[at] = length;
  at += 1;
  for (let n = 0; n < length; n += 1) {
    const code = value.charCodeAt(n);
    if (code > 0x7f) {
      at = from;
      return putLongText(value);
    }
    scratch[at + n] = code;
  }
  at += length;
  return true;
}

function putLongText(value: string): boolean {
  if (!value.isWellFormed()) return false;
  const bytes = Buffer.byteLength(value);
  if (at + bytes + 5 > SCRATCH_BYTES) return false;
  putVarint(bytes);
  scratch.write(value, at);
  at += bytes;
  return true;
}

function putBool(value: unknown): boolean {
  if (typeof value !== "boolean") return false;
  scratch[at] = value ? 1 : 0;
  at += 1;
  return true;
}

function putInt32(value: unknown): boolean {
  return typeof value === "number" && value <= 0x7fffffff && putUint32(value);
}

function putUint32(value: unknown): boolean {
  if (typeof value !== "number" || value >>> 0 !== value) return false;
  putVarint(value);
  return true;
}

const LARGEST_UINT32 = 0xffffffffn;

function putLong(value: unknown): boolean {
  return typeof value === "bigint" && value >= 0n && value <= LARGEST_UINT32 && putUint32(Number(value));
}

function putDouble(value: unknown): boolean {
  if (typeof value !== "number" || at + 8 > SCRATCH_BYTES) return false;
  scratch.writeDoubleLE(value, at);
  at += 8;
  return true;
}

function putBytes(value: unknown): boolean {
  if (!(value instanceof Uint8Array) || at + value.length + 5 > SCRATCH_BYTES) return false;
  putVarint(value.length);
  scratch.set(value, at);
  at += value.length;
  return true;
}
