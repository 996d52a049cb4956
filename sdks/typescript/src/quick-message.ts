import { create, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { DurationSchema, isWrapperDesc, TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { MessageTypes } from "@hms/direct-calls";
import { DEEPEST, fieldNames, isMessage, setCheckedField } from "./checked-message.ts";
import { isSpecial } from "./plain-value.ts";
import { timestampOf } from "./precise-date.ts";
import { durationOf, fits, LONG } from "./scalar-value.ts";

type Fields = Record<string, unknown>;

/** What is known while a value is read. */
interface Way {
  readonly types: MessageTypes;
  readonly depth: number;
}

/** What a message holds for a value; undefined: it is not what is expected. */
type Make = (value: unknown, way: Way) => unknown;

/** Puts a value into a message; false: it is not what is expected. */
type Put = (message: Fields, value: unknown, way: Way) => boolean;

/**
 * The message that an object of the language stands for, if each of its values is of the kind that `plainValue` would
 * give; undefined for everything else, which may be right or wrong all the same.
 */
export function quickMessage(desc: DescMessage, value: unknown, types: MessageTypes): object | undefined {
  return isSpecial(desc.typeName) ? undefined : (messageOf(desc, value, { types, depth: 1 }) as object | undefined);
}

/** One for each type of message: what has to be done for a field is worked out once. */
const puts = new WeakMap<DescMessage, Map<string, Put>>();

function putsOf(desc: DescMessage): Map<string, Put> {
  let known = puts.get(desc);
  if (known === undefined) {
    known = new Map([...fieldNames(desc)].map(([name, field]) => [name, putOf(field)]));
    puts.set(desc, known);
  }
  return known;
}

function messageOf(desc: DescMessage, value: unknown, way: Way): object | undefined {
  if (!isObject(value) || way.depth > DEEPEST) return undefined;
  if (value.$typeName !== undefined) return isMessage(value, desc) ? value : undefined;
  const message: Fields = create(desc) as never;
  const known = putsOf(desc);
  for (const name of Object.keys(value)) {
    const item = value[name];
    if (item !== undefined && known.get(name)?.(message, item, way) !== true) return undefined;
  }
  return message;
}

function isObject(value: unknown): value is Fields {
  if (typeof value !== "object" || value === null) return false;
  return !(Array.isArray(value) || value instanceof Map || value instanceof Uint8Array);
}

function putOf(field: DescField): Put {
  const { localName, oneof } = field;
  const make = makeOf(field);
  if (make === undefined) return (message, value, way) => setCheckedField(message, field, { value, ...way });
  return (message, value, way) => {
    if (value === null) return true;
    const made = make(value, way);
    if (made === undefined) return false;
    if (oneof === undefined) message[localName] = made;
    else {
      if ((message[oneof.localName] as { case?: string }).case !== undefined) return false;
      message[oneof.localName] = { case: localName, value: made };
    }
    return true;
  };
}

/** How the value of a field is made; undefined: with patience only. */
function makeOf(field: DescField): Make | undefined {
  const item = itemOf(field);
  if (item === undefined || field.fieldKind === "message") return item;
  if (field.fieldKind === "list") return listOf(item);
  if (field.fieldKind !== "map") return item;
  return field.mapKey === ScalarType.STRING ? mapOf(item) : undefined;
}

function listOf(item: Make): Make {
  return (value, way) => {
    if (!Array.isArray(value)) return undefined;
    const list: unknown[] = [];
    for (const each of value) {
      const made = item(each, way);
      if (made === undefined) return undefined;
      list.push(made);
    }
    return list;
  };
}

function mapOf(item: Make): Make {
  return (value, way) => {
    if (!isObject(value)) return undefined;
    const map: Fields = {};
    for (const key of Object.keys(value)) {
      const made = item(value[key], way);
      // A message's own maps have this name as a property too, which takes more than an assignment.
      if (made === undefined || key === "__proto__" || !key.isWellFormed()) return undefined;
      map[key] = made;
    }
    return map;
  };
}

/** How a single value is made, whether alone or in a list or map. */
function itemOf(field: DescField): Make | undefined {
  const { message, enum: desc } = field;
  if (desc) {
    // Of several values that a name could mean, the first counts, as with patience.
    const named = desc.values.flatMap((one) => [one.name, one.localName].map((name) => [name, one.number] as const));
    const numbers = new Map(named.toReversed());
    return (value) => (typeof value === "string" ? numbers.get(value) : undefined);
  }
  if (message) return messageMake(message);
  return "longAsString" in field && field.longAsString ? undefined : scalarMake(field.scalar as ScalarType);
}

function messageMake(desc: DescMessage): Make | undefined {
  if (desc.typeName === TimestampSchema.typeName) {
    return (value) =>
      value instanceof Date && !Number.isNaN(value.getTime()) ? create(TimestampSchema, timestampOf(value)) : undefined;
  }
  if (desc.typeName === DurationSchema.typeName) {
    return (value) => (Number.isFinite(value) ? create(DurationSchema, durationOf(value as number)) : undefined);
  }
  if (isSpecial(desc.typeName) || isWrapperDesc(desc)) return undefined;
  return (value, { types, depth }) => messageOf(desc, value, { types, depth: depth + 1 });
}

function scalarMake(type: ScalarType): Make | undefined {
  // Numbers that a float cannot hold are told with patience.
  if (type === ScalarType.FLOAT) return undefined;
  if (type === ScalarType.STRING) {
    return (value) => (typeof value === "string" && value.isWellFormed() ? value : undefined);
  }
  if (!LONG.has(type)) return (value) => (fits(type, value) ? value : undefined);
  return (value) => {
    const long = typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : value;
    return fits(type, long) ? long : undefined;
  };
}
