import { type DescField, type DescMessage, fromBinary, ScalarType } from "@bufbuild/protobuf";
import { isWrapperDesc, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { MessageTypes } from "@hms/direct-calls";
import { isSpecial, nameOf, plainValue } from "./plain-value.ts";
import { dateOf } from "./precise-date.ts";

type Fields = Record<string, unknown>;

/** Is thrown at what is rare or wrong: that is the library's. */
const LEFT = Symbol("left to the library");

/** Messages that lie deeper in each other are the library's to judge. */
const DEEPEST = 90;

/** Where the message lies that is read, and how far it has been: one at a time in a process. */
const NOTHING = Buffer.alloc(0);
let bytes: Buffer = NOTHING;
let at = 0;
/** The halves of the varint just read. */
let low = 0;
let high = 0;
let types: MessageTypes;

/** Reads one value at `at`. */
type Read = (depth: number) => unknown;
/** Reads a field at `at` into an object. */
type ReadField = (plain: Fields, depth: number) => void;

/**
 * What `plainValue` makes of the message in some bytes, without making the message where it is an ordinary one.
 * @throws as the library does if the bytes are no such message
 */
export function decodedValue(desc: DescMessage, payload: Uint8Array, known: MessageTypes): unknown {
  return quickValue(desc, payload, known) ?? plainValue(desc, fromBinary(desc, payload), known);
}

/** What `decodedValue` gives, if it can be had quickly. */
export function quickValue(desc: DescMessage, payload: Uint8Array, known: MessageTypes): object | undefined {
  if (isSpecial(desc.typeName)) return undefined;
  bytes = Buffer.isBuffer(payload) ? payload : Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  at = 0;
  types = known;
  try {
    return readFields(shapeOf(desc), bytes.length, 1);
  } catch {
    // What is wrong with them, if anything is, the library says.
    return undefined;
  } finally {
    bytes = NOTHING;
  }
}

/** What has to be done for a type of message, worked out once. */
interface Shape {
  /** The fields that are always there, with the values that they have when nothing is said. */
  readonly template: Fields;
  /** Fields that need an object of their own, lists and maps. */
  readonly fresh: readonly { readonly name: string; readonly isList: boolean }[];
  /** By tag: number and wire type. */
  readonly reads: ReadonlyMap<number, ReadField>;
  readonly numbers: ReadonlySet<number>;
}

const shapes = new WeakMap<DescMessage, Shape>();

function shapeOf(desc: DescMessage): Shape {
  let shape = shapes.get(desc);
  if (shape === undefined) {
    shape = newShape(desc);
    shapes.set(desc, shape);
  }
  return shape;
}

function newShape(desc: DescMessage): Shape {
  const template: Fields = {};
  const fresh: { name: string; isList: boolean }[] = [];
  const reads = new Map<number, ReadField>();
  for (const field of desc.fields) {
    const name = nameOf(field);
    if (name === "__proto__") continue;
    const isList = field.fieldKind === "list";
    if (isList || field.fieldKind === "map") fresh.push({ name, isList });
    if (isList || field.fieldKind === "map" || isImplicit(field)) template[name] = zeroOf(field);
    for (const [tag, read] of fieldReads(field, name)) reads.set(tag, read);
  }
  return { template, fresh, reads, numbers: new Set(desc.fields.map(({ number }) => number)) };
}

/** google.protobuf.FeatureSet.FieldPresence.IMPLICIT: zero and absence are the same. */
const IMPLICIT = 2;

function isImplicit({ presence, oneof, message }: DescField): boolean {
  return presence === IMPLICIT && oneof === undefined && message === undefined;
}

const NO_BYTES = new Uint8Array(0);

/** What a value is when nothing is said; undefined for lists, maps and messages. */
function zeroOf({ fieldKind, enum: desc, scalar }: DescField): unknown {
  if (fieldKind === "list" || fieldKind === "map") return undefined;
  return desc ? (desc.value[0]?.name ?? 0) : scalarZero(scalar as ScalarType);
}

function scalarZero(type: ScalarType): unknown {
  switch (type) {
    case ScalarType.STRING:
      return "";
    case ScalarType.BOOL:
      return false;
    case ScalarType.BYTES:
      return NO_BYTES;
    default:
      return LONG.has(type) ? 0n : 0;
  }
}

const LONG = new Set([
  ...[ScalarType.INT64, ScalarType.SINT64, ScalarType.SFIXED64],
  ...[ScalarType.UINT64, ScalarType.FIXED64],
]);

function readFields(shape: Shape, to: number, depth: number): Fields {
  if (depth > DEEPEST) throw LEFT;
  const plain: Fields = { ...shape.template };
  for (const { name, isList } of shape.fresh) plain[name] = isList ? [] : {};
  while (at < to) {
    readVarint();
    const tag = low;
    const read = high === 0 ? shape.reads.get(tag) : undefined;
    if (read === undefined) skip(tag, shape);
    else read(plain, depth);
  }
  if (at !== to) throw LEFT;
  return plain;
}

/** Passes over a field that the contract does not have. */
function skip(tag: number, { numbers }: Shape): void {
  const number = tag >>> 3;
  if (high !== 0 || number === 0 || numbers.has(number)) throw LEFT;
  const wireType = tag & 7;
  if (wireType === 0) readVarint();
  else if (wireType === 1) at += 8;
  else if (wireType === 2) at = readEnd();
  else if (wireType === 5) at += 4;
  else throw LEFT;
}

/** Reads a varint into `low` and `high`. Algorithm: protobuf.dev, "Encoding", on two halves of 32 bits. */
function readVarint(): void {
  const first = bytes[at] as number;
  if (first < 0x80) {
    at += 1;
    low = first;
    high = 0;
    return;
  }
  readLongVarint();
}

function readLongVarint(): void {
  let lower = 0;
  let upper = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    const byte = bytes[at];
    if (byte === undefined) throw LEFT;
    at += 1;
    const bits = byte & 0x7f;
    if (shift < 28) lower |= bits << shift;
    else if (shift === 28) {
      lower |= bits << 28;
      upper |= bits >>> 4;
    } else upper |= shift < 63 ? bits << (shift - 32) : (bits & 1) << 31;
    if (byte < 0x80) {
      low = lower >>> 0;
      high = upper >>> 0;
      return;
    }
  }
  throw LEFT;
}

/** Reads a length and answers where what it is the length of ends. */
function readEnd(): number {
  readVarint();
  const end = at + low;
  if (high !== 0 || end > bytes.length) throw LEFT;
  return end;
}

function fieldReads(field: DescField, name: string): [tag: number, read: ReadField][] {
  const read = itemRead(field);
  const tag = field.number * 8 + wireType(field);
  if (read === undefined) return [];
  if (field.fieldKind === "map") return mapReads(field, name, read);
  if (field.fieldKind !== "list") return [[tag, singleRead(field, name, read)]];
  const one: ReadField = (plain, depth) => {
    (plain[name] as unknown[]).push(read(depth));
  };
  if ((tag & 7) === 2) return [[tag, one]];
  const packed: ReadField = (plain, depth) => {
    const items = plain[name] as unknown[];
    const end = readEnd();
    while (at < end) items.push(read(depth));
    if (at !== end) throw LEFT;
  };
  return [
    [tag, one],
    [field.number * 8 + 2, packed],
  ];
}

function singleRead(field: DescField, name: string, read: Read): ReadField {
  // A message that comes in parts is put together by the library, and so is a oneof that changes its mind.
  const alone = [
    ...(field.message ? [name] : []),
    ...(field.oneof?.fields ?? []).filter((other) => other !== field).map(nameOf),
  ];
  if (alone.length === 0) {
    return (plain, depth) => {
      plain[name] = read(depth);
    };
  }
  return (plain, depth) => {
    for (const other of alone) if (plain[other] !== undefined) throw LEFT;
    plain[name] = read(depth);
  };
}

function mapReads(field: DescField & { fieldKind: "map" }, name: string, read: Read): [tag: number, read: ReadField][] {
  const { message, enum: desc } = field;
  if (field.mapKey !== ScalarType.STRING) return [];
  const valueTag = 16 + wireType(field);
  const zero = desc ? (desc.value[0]?.name ?? 0) : scalarZero(field.scalar as ScalarType);
  const readEntry: ReadField = (plain, depth) => {
    const end = readEnd();
    let key = "";
    let value: unknown;
    while (at < end) {
      const tag = bytes[at];
      at += 1;
      if (tag === 10) key = readText(depth);
      else if (tag === valueTag && value === undefined) value = read(depth);
      else throw LEFT;
    }
    if (at !== end || key === "__proto__" || (message && value === undefined)) throw LEFT;
    (plain[name] as Fields)[key] = value === undefined ? zero : value;
  };
  return [[field.number * 8 + 2, readEntry]];
}

const WIRE_TYPES: Partial<Record<ScalarType, number>> = {
  ...{ [ScalarType.STRING]: 2, [ScalarType.BYTES]: 2, [ScalarType.DOUBLE]: 1, [ScalarType.FLOAT]: 5 },
  ...{ [ScalarType.FIXED64]: 1, [ScalarType.SFIXED64]: 1, [ScalarType.FIXED32]: 5, [ScalarType.SFIXED32]: 5 },
};

function wireType({ message, enum: desc, scalar }: DescField): number {
  if (message) return 2;
  return desc ? 0 : (WIRE_TYPES[scalar as ScalarType] ?? 0);
}

/** How a single value is read, whether alone or in a list or map; undefined: by the library. */
function itemRead(field: DescField): Read | undefined {
  const { message, enum: desc } = field;
  if (desc) {
    return () => {
      readVarint();
      const number = low | 0;
      const value = desc.value[number];
      if (value === undefined && !desc.open) throw LEFT;
      return value?.name ?? number;
    };
  }
  if (message === undefined) return SCALARS[field.scalar as ScalarType];
  if ("delimitedEncoding" in field && field.delimitedEncoding) return undefined;
  if (message.typeName === TimestampSchema.typeName) return readTimestamp;
  if (isSpecial(message.typeName) || isWrapperDesc(message)) return () => readSpecial(message);
  return (depth) => {
    const end = readEnd();
    return readFields(shapeOf(message), end, depth + 1);
  };
}

function readSpecial(desc: DescMessage): unknown {
  return plainValue(desc, fromBinary(desc, readBytes()), types);
}

function readTimestamp(): Date {
  const end = readEnd();
  let seconds = 0;
  let nanos = 0;
  while (at < end) {
    const tag = bytes[at];
    at += 1;
    readVarint();
    // Moments that a Date cannot hold, and what was added to Timestamp since, are the library's.
    if (tag === 8 && high < 0x10000) seconds = high * 0x100000000 + low;
    else if (tag === 16 && high === 0 && low < 1_000_000_000) nanos = low;
    else throw LEFT;
  }
  if (at !== end) throw LEFT;
  return dateOf(seconds, nanos);
}

function readText(_depth: number): string {
  const end = readEnd();
  const text = bytes.toString("utf8", at, end);
  at = end;
  // Half characters and the like are refused, by the library.
  if (text.includes("\ufffd")) throw LEFT;
  return text;
}

function readBytes(): Uint8Array {
  const end = readEnd();
  const part = new Uint8Array(bytes.buffer, bytes.byteOffset + at, end - at);
  at = end;
  return part;
}

/** Moves over so many bytes and answers where they began. */
function fixed(length: number): number {
  const from = at;
  at += length;
  if (at > bytes.length) throw LEFT;
  return from;
}

/** Reads a varint, then makes of its halves what a type is. */
function varint<T>(make: () => T): () => T {
  return () => {
    readVarint();
    return make();
  };
}

const unsigned = () => (high === 0 ? BigInt(low) : (BigInt(high) << 32n) | BigInt(low));
const zigzag = (value: bigint) => (value >> 1n) ^ -(value & 1n);

const SCALARS: Partial<Record<ScalarType, Read>> = {
  [ScalarType.STRING]: readText,
  [ScalarType.BYTES]: readBytes,
  [ScalarType.BOOL]: varint(() => low !== 0 || high !== 0),
  [ScalarType.INT32]: varint(() => low | 0),
  [ScalarType.UINT32]: varint(() => low),
  [ScalarType.SINT32]: varint(() => (low >>> 1) ^ -(low & 1)),
  [ScalarType.INT64]: varint(() => (high === 0 ? BigInt(low) : BigInt.asIntN(64, unsigned()))),
  [ScalarType.UINT64]: varint(unsigned),
  [ScalarType.SINT64]: varint(() => zigzag(unsigned())),
  [ScalarType.DOUBLE]: () => bytes.readDoubleLE(fixed(8)),
  [ScalarType.FLOAT]: () => bytes.readFloatLE(fixed(4)),
  [ScalarType.FIXED32]: () => bytes.readUInt32LE(fixed(4)),
  [ScalarType.SFIXED32]: () => bytes.readInt32LE(fixed(4)),
  [ScalarType.FIXED64]: () => bytes.readBigUInt64LE(fixed(8)),
  [ScalarType.SFIXED64]: () => bytes.readBigInt64LE(fixed(8)),
};
