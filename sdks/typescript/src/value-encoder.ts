import { type DescField, type DescMessage, ScalarType, toBinary } from "@bufbuild/protobuf";
import { isWrapperDesc, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { MessageTypes } from "@hms/direct-calls";
import { EncodedMessage } from "@hms/kernel";
import { putMessage, scratch } from "@hms/wire";
import { checkedMessage, DEEPEST, fieldNames, isMessage } from "./checked-message.ts";
import { isSpecial, nameOf } from "./plain-value.ts";
import { timestampOf } from "./precise-date.ts";

type Fields = Record<string, unknown>;

/** What is known while a value is written. */
interface Way {
  readonly types: MessageTypes;
  readonly depth: number;
}

/** Writes what a field is given; false: it is not what is expected. */
type WriteField = (value: unknown, given: Fields, way: Way) => boolean;
/** Writes a single value; false: it is not what is expected. */
type PutValue = (value: unknown, way: Way) => boolean;

/** google.protobuf.FeatureSet.FieldPresence. */
const PRESENCE = { IMPLICIT: 2, LEGACY_REQUIRED: 3 } as const;

/**
 * The message that an object of the language stands for, as its bytes, if each of its values is of the kind that
 * `plainValue` would give; undefined for everything else, which may be right or wrong all the same.
 */
export function encodedValue(desc: DescMessage, value: unknown, types: MessageTypes): EncodedMessage | undefined {
  if (isSpecial(desc.typeName)) return undefined;
  const bytes = scratch.scratched((whole) => putFields(desc, whole, { types, depth: 1 }), value);
  return bytes && new EncodedMessage(desc, bytes);
}

/** One for each type of message, by each name of each field; undefined: messages of this type are not written here. */
const writers = new WeakMap<DescMessage, Map<string, WriteField> | undefined>();

function writersOf(desc: DescMessage): Map<string, WriteField> | undefined {
  if (!writers.has(desc)) writers.set(desc, isWritten(desc) ? allWriters(desc) : undefined);
  return writers.get(desc);
}

/** Whether a message can be written field by field, in any order, without missing what must be there. */
function isWritten(desc: DescMessage): boolean {
  return desc.fields.every(
    (field) =>
      field.presence !== PRESENCE.LEGACY_REQUIRED && !("delimitedEncoding" in field && field.delimitedEncoding),
  );
}

function allWriters(desc: DescMessage): Map<string, WriteField> {
  const names = fieldNames(desc);
  return new Map([...names].map(([name, field]) => [name, aloneOf(name, field, names)]));
}

/** Refuses what is given by another name of the field too, or beside another of its oneof. */
function aloneOf(name: string, field: DescField, names: ReadonlyMap<string, DescField>): WriteField {
  const write = fieldWriter(field);
  const rivals = [...names].flatMap(([other, { oneof, number }]) => {
    // The other names look for this one.
    const same = number === field.number && other !== name && name !== nameOf(field);
    return same || (field.oneof !== undefined && oneof === field.oneof && other !== name) ? [other] : [];
  });
  if (rivals.length === 0) return (value, _, way) => write(value, way);
  return (value, given, way) => !rivals.some((rival) => isGiven(given, rival)) && write(value, way);
}

const isGiven = (given: Fields, name: string) => Object.hasOwn(given, name) && given[name] !== undefined;

function putFields(desc: DescMessage, value: unknown, way: Way): boolean {
  if (!isObject(value) || way.depth > DEEPEST) return false;
  if (value.$typeName !== undefined) return isMessage(value, desc) && putMessage(desc, value);
  const known = writersOf(desc);
  if (known === undefined) return false;
  for (const name of Object.keys(value)) {
    const item = value[name];
    if (item !== undefined && known.get(name)?.(item, value, way) !== true) return false;
  }
  return true;
}

function isObject(value: unknown): value is Fields {
  if (typeof value !== "object" || value === null) return false;
  return !(Array.isArray(value) || value instanceof Map || value instanceof Uint8Array);
}

const never = () => false;

function fieldWriter(field: DescField): PutValue {
  const write = presentWriter(field);
  // Null means "absent", but for google.protobuf.Value, where it is a value.
  if (field.message?.typeName === "google.protobuf.Value" && field.fieldKind === "message") return write;
  return (value, way) => value === null || write(value, way);
}

function presentWriter(field: DescField): PutValue {
  const put = itemPut(field);
  if (put === undefined) return never;
  if (field.fieldKind === "list") return listWriter(field, put);
  if (field.fieldKind === "map") return mapWriter(field, put);
  const tag = field.number * 8 + wireType(field);
  const write: PutValue = (value, way) => {
    scratch.putVarint(tag);
    return put(value, way);
  };
  if (field.presence !== PRESENCE.IMPLICIT || field.oneof !== undefined || field.message) return write;
  const isZero = zeroOf(field);
  return (value, way) => isZero(value) || write(value, way);
}

/** Tells the value that stands for absence. */
function zeroOf({ enum: desc, scalar }: DescField): (value: unknown) => boolean {
  if (desc) {
    const names = namesOf(desc);
    return (value) => typeof value === "string" && names.get(value) === 0;
  }
  switch (scalar) {
    case ScalarType.STRING:
      return (value) => value === "";
    case ScalarType.BOOL:
      return (value) => value === false;
    case ScalarType.BYTES:
      return (value) => value instanceof Uint8Array && value.length === 0;
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return (value) => value === 0n || value === 0;
    default:
      // Not the same as -0.
      return (value) => Object.is(value, 0);
  }
}

const isVarint = (type: ScalarType) =>
  type !== ScalarType.STRING && type !== ScalarType.BYTES && type !== ScalarType.DOUBLE;

function wireType({ message, enum: desc, scalar }: DescField): number {
  if (message) return 2;
  if (desc || isVarint(scalar as ScalarType)) return 0;
  return scalar === ScalarType.DOUBLE ? 1 : 2;
}

function listWriter(field: DescField & { fieldKind: "list" }, put: PutValue): PutValue {
  if (!field.packed) {
    const tag = field.number * 8 + wireType(field);
    return (items, way) => {
      if (!Array.isArray(items)) return false;
      for (const item of items) {
        scratch.putVarint(tag);
        if (!put(item, way) || scratch.isFull()) return false;
      }
      return true;
    };
  }
  const tag = field.number * 8 + 2;
  return (items, way) => {
    if (!Array.isArray(items)) return false;
    if (items.length === 0) return true;
    scratch.putVarint(tag);
    return scratch.putSized((all) => all.every((item) => put(item, way)), items as unknown[]);
  };
}

function mapWriter(field: DescField & { fieldKind: "map" }, put: PutValue): PutValue {
  if (field.mapKey !== ScalarType.STRING) return never;
  const tag = field.number * 8 + 2;
  const valueTag = 16 + wireType(field);
  return (map, way) => {
    if (!isObject(map)) return false;
    for (const key of Object.keys(map)) {
      // A message's own maps have this name as a property too, which takes more than an assignment.
      if (key === "__proto__" || scratch.isFull()) return false;
      scratch.putVarint(tag);
      const putEntry = (value: unknown) => {
        scratch.putByte(10);
        if (!scratch.putText(key)) return false;
        scratch.putByte(valueTag);
        return put(value, way);
      };
      if (!scratch.putSized(putEntry, map[key])) return false;
    }
    return true;
  };
}

/** How a single value is written, whether alone or in a list or map; undefined: with patience only. */
function itemPut(field: DescField): PutValue | undefined {
  const { message, enum: desc } = field;
  if (desc) {
    const names = namesOf(desc);
    return (value) => typeof value === "string" && scratch.putInt32(names.get(value));
  }
  return message ? messagePut(message) : SCALARS[field.scalar as ScalarType];
}

/** Of several values that a name could mean, the first counts, as with patience. */
function namesOf(desc: NonNullable<DescField["enum"]>): Map<string, number> {
  const named = desc.values.flatMap((one) => [one.name, one.localName].map((name) => [name, one.number] as const));
  return new Map(named.toReversed());
}

function messagePut(desc: DescMessage): PutValue {
  if (desc.typeName === TimestampSchema.typeName) {
    return (value) => value instanceof Date && !Number.isNaN(value.getTime()) && scratch.putSized(putTimestamp, value);
  }
  if (isSpecial(desc.typeName) || isWrapperDesc(desc)) return (value, way) => putPatiently(desc, value, way);
  return (value, { types, depth }) =>
    scratch.putSized((given) => putFields(desc, given, { types, depth: depth + 1 }), value);
}

function putTimestamp(date: Date): boolean {
  const { seconds, nanos } = timestampOf(date);
  if (seconds !== 0n) {
    scratch.putByte(8);
    scratch.putInt64(seconds);
  }
  if (nanos === 0) return true;
  scratch.putByte(16);
  return scratch.putInt32(nanos);
}

/** What stands for something else is left to the library, and to the words for what is wrong with it. */
function putPatiently(desc: DescMessage, value: unknown, { types }: Way): boolean {
  if (value === null || value === undefined) return false;
  try {
    return scratch.putBytes(toBinary(desc, checkedMessage(desc, value, types) as never));
  } catch {
    return false;
  }
}

const putLong = (put: scratch.Put) => (value: unknown) =>
  put(typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value);

/** Numbers that a float cannot hold are told with patience. */
const SCALARS: Partial<Record<ScalarType, PutValue>> = {
  [ScalarType.STRING]: scratch.putText,
  [ScalarType.BOOL]: scratch.putBool,
  [ScalarType.INT32]: scratch.putInt32,
  [ScalarType.UINT32]: scratch.putUint32,
  [ScalarType.INT64]: putLong(scratch.putInt64),
  [ScalarType.UINT64]: putLong(scratch.putUint64),
  [ScalarType.DOUBLE]: scratch.putDouble,
  [ScalarType.BYTES]: scratch.putBytes,
};
