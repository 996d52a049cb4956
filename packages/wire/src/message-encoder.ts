import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { scalarZeroValue } from "@bufbuild/protobuf/reflect";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import {
  isFull,
  type Put,
  putBool,
  putByte,
  putBytes,
  putDouble,
  putInt32,
  putInt64,
  putSized,
  putText,
  putUint32,
  putUint64,
  putVarint,
  scratched,
} from "./scratch.ts";

/** A message as protobuf-es holds it. */
type Fields = Record<string, unknown>;

/** google.protobuf.FeatureSet.FieldPresence. */
const PRESENCE = { IMPLICIT: 2, LEGACY_REQUIRED: 3 } as const;

/** Writes a field of a message, if it is set; false: it is none that is written here. */
type WriteField = (message: Fields) => boolean;

/**
 * The bytes of a message as protobuf-es writes them, without its buffers for each message; undefined for what is rare,
 * large or wrong: that is the library's.
 */
export function encodeQuickly(desc: DescMessage, message: unknown): Buffer | undefined {
  return scratched((whole) => putMessage(desc, whole), message);
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

/** Writes the fields of a message; false: it is none that is written here. */
export function putMessage(desc: DescMessage, message: unknown): boolean {
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
    if (isFull()) return false;
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
    putByte(10);
    if (!putText(key)) return false;
    putByte(valueTag);
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
    const put = (value: unknown) => putMessage(message, value);
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
  [ScalarType.INT64]: putInt64,
  [ScalarType.UINT64]: putUint64,
  [ScalarType.DOUBLE]: putDouble,
  [ScalarType.BYTES]: putBytes,
};
