import {
  type DescField,
  type DescMessage,
  type DescOneof,
  type JsonValue,
  type Message,
  ScalarType,
  toJson,
} from "@bufbuild/protobuf";
import {
  type Any,
  anyUnpack,
  type Duration,
  type FieldMask,
  isWrapperDesc,
  type Timestamp,
} from "@bufbuild/protobuf/wkt";
import type { MessageTypes } from "@hms/direct-calls";
import { dateOf } from "./precise-date.ts";

/**
 * A message as values of the language: objects with the contract's names in camel case, int64 as bigint, bytes as
 * Uint8Array, Timestamp as Date, Duration as milliseconds, enums by name, maps as objects, Struct and wrappers as what
 * they stand for. Fields without a value that can tell absence from zero are left out.
 */
export function plainValue(desc: DescMessage, message: unknown, types: MessageTypes): unknown {
  return readerOf(desc)(message as never, types);
}

type Fields = Record<string, unknown>;
type Read = (value: never, types: MessageTypes) => unknown;

/** One for each type of message: what has to be done for a field is worked out once. */
const readers = new WeakMap<DescMessage, Read>();

function readerOf(desc: DescMessage): Read {
  let reader = readers.get(desc);
  if (reader === undefined) {
    const special = SPECIAL[desc.typeName];
    reader = special ? (message, types) => special(message, types, desc) : fieldsReader(desc);
    readers.set(desc, reader);
  }
  return reader;
}

/** How a field is read: what it is called here and there, and what is made of its value. */
interface ReadField {
  readonly name: string;
  readonly localName: string;
  /** Undefined: the value is taken as it is. */
  readonly read: Read | undefined;
  /** "always": zero and absence are the same; "own": only if the message has it; else the oneof that may hold it. */
  readonly presence: "always" | "own" | DescOneof;
}

function fieldsReader(desc: DescMessage): Read {
  // Made on first use, because a message may hold its own kind.
  let fields: ReadField[] | undefined;
  return (message: Fields, types) => {
    fields ??= desc.fields.map(readField);
    const plain: Fields = {};
    for (const field of fields) {
      const value = heldValue(field, message);
      if (value === undefined) continue;
      plain[field.name] = field.read === undefined ? value : field.read(value as never, types);
    }
    return plain;
  };
}

function heldValue({ presence, localName }: ReadField, message: Fields): unknown {
  if (presence === "always") return message[localName];
  if (presence === "own") return Object.hasOwn(message, localName) ? message[localName] : undefined;
  const held = message[presence.localName] as { case?: string; value?: unknown };
  return held.case === localName ? held.value : undefined;
}

function readField(field: DescField): ReadField {
  const implicit = field.presence === IMPLICIT || field.fieldKind === "list" || field.fieldKind === "map";
  const presence = field.oneof ?? (implicit ? "always" : "own");
  return { name: nameOf(field), localName: field.localName, read: valueReader(field), presence };
}

function valueReader(field: DescField): Read | undefined {
  switch (field.fieldKind) {
    case "list": {
      const read = itemReader(field);
      return (items: unknown[], types) => items.map((item) => (read ? read(item as never, types) : item));
    }
    case "map": {
      const read = itemReader(field);
      return (items: Fields, types) =>
        Object.fromEntries(Object.entries(items).map(([key, item]) => [key, read ? read(item as never, types) : item]));
    }
    default:
      return itemReader(field);
  }
}

/** How a single value is read, whether alone or in a list or map. */
function itemReader(field: DescField): Read | undefined {
  const { message, enum: desc } = field;
  if (desc) return (value: number) => desc.value[value]?.name ?? value;
  if (message === undefined) return isLongText(field) ? (value: string) => BigInt(value) : undefined;
  const { typeName } = message;
  // Messages hold some types as something else than their messages.
  if (typeName === "google.protobuf.Struct" && field.parent.typeName !== "google.protobuf.Value") {
    return copyOfJson;
  }
  if (field.fieldKind === "message" && !field.oneof && isWrapperDesc(message)) {
    return isLongText(message.fields[0]) ? (value: string) => BigInt(value) : undefined;
  }
  return (value: Fields, types) => readerOf(message)(value as never, types);
}

/** Whether 64-bit numbers of a field are kept as texts (`jstype = JS_STRING`). */
function isLongText(field: DescField | undefined): boolean {
  return field !== undefined && "longAsString" in field && field.longAsString === true;
}

/** How a field is called in the language: as in JSON, so that what schemas describe keeps its names. */
export function nameOf({ jsonName, localName }: DescField): string {
  return jsonName || localName;
}

/** google.protobuf.FeatureSet.FieldPresence.IMPLICIT: zero and absence are the same. */
const IMPLICIT = 2;

const SPECIAL: Record<string, (message: never, types: MessageTypes, desc: DescMessage) => unknown> = {
  "google.protobuf.Timestamp": ({ seconds, nanos }: Timestamp) => dateOf(seconds, nanos),
  "google.protobuf.Duration": millisecondsOf,
  "google.protobuf.Struct": jsonOf,
  "google.protobuf.Value": jsonOf,
  "google.protobuf.ListValue": jsonOf,
  "google.protobuf.FieldMask": ({ paths }: FieldMask) => [...paths],
  "google.protobuf.Any": plainAny,
};
for (const name of ["Bool", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double", "String", "Bytes"]) {
  SPECIAL[`google.protobuf.${name}Value`] = ({ value }: { value: unknown }) => value;
}

function jsonOf(message: Message, _types: MessageTypes, desc: DescMessage): unknown {
  return toJson(desc, message);
}

function copyOfJson(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOfJson);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, copyOfJson(item)]));
}

function millisecondsOf({ seconds, nanos }: Duration): number {
  return Number(seconds) * 1000 + nanos / 1e6;
}

function plainAny(any: Any, types: MessageTypes): unknown {
  const typeName = any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
  const desc = types.getMessage(typeName);
  const content = desc && anyUnpack(any, desc);
  if (desc === undefined || content === undefined) return { "@type": any.typeUrl, value: any.value };
  const plain = plainValue(desc, content, types);
  const isObject = SPECIAL[typeName] === undefined;
  return isObject ? { "@type": any.typeUrl, ...(plain as object) } : { "@type": any.typeUrl, value: plain };
}

/** Whether a message is written as something other than an object with its fields. */
export function isSpecial(typeName: string): boolean {
  return SPECIAL[typeName] !== undefined;
}

/** How a scalar type is called in the language, for messages to people. */
export function scalarWord(type: ScalarType): string {
  switch (type) {
    case ScalarType.BOOL:
      return "true or false";
    case ScalarType.STRING:
      return "a text";
    case ScalarType.BYTES:
      return "a Uint8Array";
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return "a number";
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return "a bigint (or a whole number up to 2^53)";
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return "a bigint that is not negative";
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return "a whole number from 0 to 4294967295";
    default:
      return "a whole number from -2147483648 to 2147483647";
  }
}
