import { create, type DescField, type DescMessage, fromJson, type JsonValue, ScalarType } from "@bufbuild/protobuf";
import {
  type ReflectList,
  type ReflectMap,
  type ReflectMessage,
  reflect,
  reflectList,
  reflectMap,
} from "@bufbuild/protobuf/reflect";
import { AnySchema, anyPack, DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { MessageTypes } from "@hms/direct-calls";
import { HmsError } from "@hms/kernel";
import { nearestName } from "@hms/manifest";
import { isSpecial, nameOf, scalarWord } from "./plain-value.ts";
import { timestampOf } from "./precise-date.ts";
import { below, complain, type Place, type Reading, shown } from "./reading-place.ts";
import { durationOf, scalarOf } from "./scalar-value.ts";

/** Messages may lie this deep in each other. */
export const DEEPEST = 100;

/**
 * The message that an object of the language stands for, read with patience: whatever is taken is taken, and everything
 * that is wrong is told at once.
 * @throws HmsError INVALID_ARGUMENT with every problem
 */
export function checkedMessage(desc: DescMessage, value: unknown, types: MessageTypes): object {
  const reading: Reading = { types, violations: [], depth: 0 };
  const read = readMessage(desc, value ?? {}, { reading, path: "" });
  const { violations } = reading;
  if (violations.length === 0) return read.message;
  const problems = violations.map(({ field, description }) => (field ? `${field}: ${description}` : description));
  throw new HmsError("INVALID_ARGUMENT", `This is no ${desc.typeName}. ${problems.join(" ")}`, {
    fieldViolations: violations,
  });
}

/** Whether a value is a whole message of a type already. */
export function isMessage(value: unknown, desc: DescMessage): boolean {
  return typeof value === "object" && value !== null && (value as { $typeName?: string }).$typeName === desc.typeName;
}

function readMessage(desc: DescMessage, value: unknown, place: Place): ReflectMessage {
  if (isMessage(value, desc)) return reflect(desc, value as never);
  const special = SPECIAL[desc.typeName] ?? (isSpecial(desc.typeName) ? wrapped : undefined);
  const { reading } = place;
  reading.depth += 1;
  try {
    if (reading.depth > DEEPEST) complain(place, `lies more than ${DEEPEST} deep; make it flatter.`);
    else if (special) return special(desc, value, place);
    else return readFields(desc, value, place);
    return reflect(desc);
  } finally {
    reading.depth -= 1;
  }
}

function readFields(desc: DescMessage, value: unknown, place: Place): ReflectMessage {
  const reflected = reflect(desc);
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    complain(place, `${shown(value)} is no object with the fields of ${desc.name}.`);
    return reflected;
  }
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  const names = fieldNames(desc);
  for (const [name, item] of entries) {
    if (name === "$typeName" || name === "$unknown" || item === undefined) continue;
    const field = names.get(String(name));
    const at = below(place, String(name));
    if (field === undefined) complainOfName(at, String(name), desc);
    else setField(reflected, field, { value: item, place: at });
  }
  return reflected;
}

function complainOfName(place: Place, name: string, desc: DescMessage): void {
  const near = nearestName(name, desc.fields.map(nameOf));
  const there = desc.fields.map(nameOf).join(", ") || "none";
  complain(
    place,
    near ? `is no field of ${desc.name}; did you mean ${near}?` : `is no field of ${desc.name}; it has ${there}.`,
  );
}

const namesByMessage = new WeakMap<DescMessage, Map<string, DescField>>();

/** The fields of a message by each of their names. */
export function fieldNames(desc: DescMessage): Map<string, DescField> {
  let names = namesByMessage.get(desc);
  if (names === undefined) {
    names = new Map(
      desc.fields.flatMap((field) => [field.localName, field.jsonName, field.name].map((n) => [n, field])),
    );
    namesByMessage.set(desc, names);
  }
  return names;
}

interface Given {
  readonly value: unknown;
  readonly place: Place;
}

function setField(reflected: ReflectMessage, field: DescField, given: Given): void {
  const { value, place } = given;
  // Null means "absent", but for google.protobuf.Value, where it is a value.
  if (value === null && field.message?.typeName !== "google.protobuf.Value") return;
  if (field.oneof && reflected.oneofCase(field.oneof)) {
    complain(place, `cannot be there together with ${reflected.oneofCase(field.oneof)?.localName}; give one of them.`);
    return;
  }
  const read = readField(field, value, place);
  if (read === undefined) return;
  const error = trySet(() => reflected.set(field, read as never));
  if (error) complain(place, error);
}

function trySet(set: () => void): string | undefined {
  try {
    set();
    return undefined;
  } catch (error) {
    return error instanceof Error ? `cannot be used: ${error.message}.` : String(error);
  }
}

function readField(field: DescField, value: unknown, place: Place): unknown {
  switch (field.fieldKind) {
    case "list":
      return readList(field, value, place);
    case "map":
      return readMap(field, value, place);
    case "message":
      return readMessage(field.message, value, place);
    case "enum":
      return readEnum(field.enum, value, place);
    default:
      return readScalar(field.scalar, value, place);
  }
}

type ItemField = DescField & { fieldKind: "list" | "map" };

function readItem(field: ItemField, value: unknown, place: Place): unknown {
  if (field.message) return readMessage(field.message, value, place);
  if (field.enum) return readEnum(field.enum, value, place);
  return readScalar(field.scalar as ScalarType, value, place);
}

function readList(field: DescField & { fieldKind: "list" }, value: unknown, place: Place): ReflectList | undefined {
  if (typeof value !== "object" || value === null || !(Symbol.iterator in value) || value instanceof Map) {
    return complain(place, `${shown(value)} is no list; give an array.`);
  }
  const list = reflectList(field);
  let index = 0;
  for (const item of value as Iterable<unknown>) {
    const at = below(place, index);
    const read = readItem(field, item, at);
    const error = read === undefined ? undefined : trySet(() => list.add(read as never));
    if (error) complain(at, error);
    index += 1;
  }
  return list;
}

function readMap(field: DescField & { fieldKind: "map" }, value: unknown, place: Place): ReflectMap | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return complain(place, `${shown(value)} is no map; give an object or a Map.`);
  }
  const map = reflectMap(field);
  const entries: Iterable<[unknown, unknown]> = value instanceof Map ? value : Object.entries(value);
  for (const [name, item] of entries) {
    const at = below(place, String(name));
    const key = readScalar(field.mapKey, field.mapKey === ScalarType.STRING ? name : unquoted(name), at);
    const read = readItem(field, item, at);
    if (key === undefined || read === undefined) continue;
    const error = trySet(() => map.set(key as never, read as never));
    if (error) complain(at, error);
  }
  return map;
}

/** A key of an object is always a text. */
function unquoted(name: unknown): unknown {
  if (name === "true" || name === "false") return name === "true";
  return typeof name === "string" && /^-?\d{1,15}$/.test(name) ? Number(name) : name;
}

function readEnum(desc: NonNullable<DescField["enum"]>, value: unknown, place: Place): number | undefined {
  if (typeof value === "number" && Number.isInteger(value)) return value;
  const found = desc.values.find(({ name, localName }) => name === value || localName === value);
  if (found) return found.number;
  const names = desc.values.map(({ name }) => name);
  const near = typeof value === "string" ? nearestName(value, names) : undefined;
  return complain(
    place,
    near
      ? `${shown(value)} is no ${desc.name}; did you mean ${near}?`
      : `${shown(value)} is no ${desc.name}; use ${names.join(", ")}.`,
  );
}

function readScalar(type: ScalarType, value: unknown, place: Place): unknown {
  return scalarOf(type, value) ?? complain(place, `${shown(value)} does not fit; give ${scalarWord(type)}.`);
}

type ReadSpecial = (desc: DescMessage, value: unknown, place: Place) => ReflectMessage;

/** Types that are read as protobuf's JSON has them, or in the language's own form. */
const SPECIAL: Record<string, ReadSpecial> = {
  "google.protobuf.Timestamp": (desc, value, place) => {
    if (!(value instanceof Date))
      return readJson(desc, value, { place, wanted: "a Date, or a text like 2026-01-31T12:00:00Z" });
    if (Number.isNaN(value.getTime())) complain(place, "is an invalid Date.");
    else return reflect(TimestampSchema, create(TimestampSchema, timestampOf(value)));
    return reflect(desc);
  },
  "google.protobuf.Duration": (desc, value, place) => {
    if (typeof value !== "number")
      return readJson(desc, value, { place, wanted: 'milliseconds as a number, or a text like "1.5s"' });
    if (!Number.isFinite(value)) complain(place, `${value} is no duration; give milliseconds.`);
    else return reflect(DurationSchema, create(DurationSchema, durationOf(value)));
    return reflect(desc);
  },
  "google.protobuf.Struct": (desc, value, place) =>
    readJson(desc, value, { place, wanted: "an object of JSON values" }),
  "google.protobuf.Value": (desc, value, place) => readJson(desc, value, { place, wanted: "a JSON value" }),
  "google.protobuf.ListValue": (desc, value, place) =>
    readJson(desc, value, { place, wanted: "an array of JSON values" }),
  "google.protobuf.FieldMask": (desc, value, place) => {
    if (Array.isArray(value)) return reflect(desc, create(desc, { paths: value.map(String) } as never));
    return readJson(desc, value, { place, wanted: "an array of field paths" });
  },
  "google.protobuf.Any": readAny,
};

function readJson(
  desc: DescMessage,
  value: unknown,
  { place, wanted }: { place: Place; wanted: string },
): ReflectMessage {
  try {
    return reflect(desc, fromJson(desc, jsonOf(value) as JsonValue));
  } catch {
    complain(place, `${shown(value)} does not fit; give ${wanted}.`);
    return reflect(desc);
  }
}

/** What JSON.stringify would make of a value, without its text; bigints become numbers where that loses nothing. */
function jsonOf(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (Array.isArray(value)) return value.map(jsonOf);
  if (typeof value !== "object" || value === null) return value;
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined).map(([key, item]) => [key, jsonOf(item)]));
}

/** A wrapper is written as what it wraps. */
function wrapped(desc: DescMessage, value: unknown, place: Place): ReflectMessage {
  const reflected = reflect(desc);
  const [field] = desc.fields;
  if (field?.fieldKind !== "scalar") return reflected;
  const read = readScalar(field.scalar, value, place);
  if (read !== undefined) reflected.set(field, read as never);
  return reflected;
}

function readAny(desc: DescMessage, value: unknown, place: Place): ReflectMessage {
  const { "@type": typeUrl, ...fields } = (typeof value === "object" && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  const typeName = typeof typeUrl === "string" ? typeUrl.slice(typeUrl.lastIndexOf("/") + 1) : "";
  const held = place.reading.types.getMessage(typeName);
  if (held === undefined && typeof typeUrl === "string" && fields.value instanceof Uint8Array) {
    return reflect(desc, create(AnySchema, { typeUrl, value: fields.value }));
  }
  if (held === undefined) {
    complain(
      below(place, "@type"),
      `${shown(typeUrl)} is no type of this contract; write "type.googleapis.com/<message>".`,
    );
    return reflect(desc);
  }
  const content = readMessage(held, isSpecial(typeName) ? fields.value : fields, place);
  return reflect(desc, anyPack(held, content.message as never));
}
