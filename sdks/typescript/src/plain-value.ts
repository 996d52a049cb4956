import { type DescField, type DescMessage, ScalarType, toJson } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect, type ScalarValue } from "@bufbuild/protobuf/reflect";
import type { Any } from "@bufbuild/protobuf/wkt";
import { anyUnpack, type Duration, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { MessageTypes } from "@hms/direct-calls";
import { dateOf } from "./precise-date.ts";

/**
 * A message as values of the language: objects with the contract's names in camel case, int64 as bigint, bytes as
 * Uint8Array, Timestamp as Date, Duration as milliseconds, enums by name, maps as objects, Struct and wrappers as what
 * they stand for. Fields without a value that can tell absence from zero are left out.
 */
export function plainValue(desc: DescMessage, message: unknown, types: MessageTypes): unknown {
  return plainMessage(reflect(desc, message as never), types);
}

function plainMessage(reflected: ReflectMessage, types: MessageTypes): unknown {
  const special = SPECIAL[reflected.desc.typeName];
  return special ? special(reflected, types) : plainFields(reflected, types);
}

function plainFields(reflected: ReflectMessage, types: MessageTypes): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const field of reflected.desc.fields) {
    const implicit = field.presence === IMPLICIT || field.fieldKind === "list" || field.fieldKind === "map";
    if ((!implicit || field.oneof) && !reflected.isSet(field)) continue;
    plain[nameOf(field)] = plainField(reflected, field, types);
  }
  return plain;
}

/** How a field is called in the language: as in JSON, so that what schemas describe keeps its names. */
export function nameOf({ jsonName, localName }: DescField): string {
  return jsonName || localName;
}

/** google.protobuf.FeatureSet.FieldPresence.IMPLICIT: zero and absence are the same. */
const IMPLICIT = 2;

function plainField(reflected: ReflectMessage, field: DescField, types: MessageTypes): unknown {
  switch (field.fieldKind) {
    case "message":
      return plainMessage(reflected.get(field), types);
    case "enum":
      return enumName(field, reflected.get(field));
    case "list":
      return Array.from(reflected.get(field), (item) => plainItem(field, item, types));
    case "map":
      return Object.fromEntries(
        Array.from(reflected.get(field), ([key, item]) => [String(key), plainItem(field, item, types)]),
      );
    default:
      return reflected.get(field);
  }
}

function plainItem(field: DescField & { fieldKind: "list" | "map" }, item: unknown, types: MessageTypes): unknown {
  if (field.message) return plainMessage(item as ReflectMessage, types);
  return field.enum ? enumName(field as { enum: NonNullable<DescField["enum"]> }, item) : (item as ScalarValue);
}

/** An enum value by name; by number if the contract here has no name for it. */
function enumName({ enum: desc }: { enum: NonNullable<DescField["enum"]> }, value: unknown): unknown {
  return desc.value[value as number]?.name ?? value;
}

const SPECIAL: Record<string, (reflected: ReflectMessage, types: MessageTypes) => unknown> = {
  "google.protobuf.Timestamp": ({ message }) => dateOf((message as Timestamp).seconds, (message as Timestamp).nanos),
  "google.protobuf.Duration": ({ message }) => millisecondsOf(message as Duration),
  "google.protobuf.Struct": jsonOf,
  "google.protobuf.Value": jsonOf,
  "google.protobuf.ListValue": jsonOf,
  "google.protobuf.FieldMask": ({ message }) => [...(message as unknown as { paths: string[] }).paths],
  "google.protobuf.Any": ({ message }, types) => plainAny(message as Any, types),
};
for (const name of ["Bool", "Int32", "UInt32", "Int64", "UInt64", "Float", "Double", "String", "Bytes"]) {
  SPECIAL[`google.protobuf.${name}Value`] = ({ message }) => (message as unknown as { value: unknown }).value;
}

function jsonOf({ desc, message }: ReflectMessage): unknown {
  return toJson(desc, message);
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
