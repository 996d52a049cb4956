import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import {
  type FieldDescriptorProto,
  FieldOptions_JSType,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import type { BreakingRule, Finding } from "./breaking-rule.ts";
import { type ContractIndex, fieldsOf, type IndexedField, type IndexedMessage, typeNameOf } from "./contract-index.ts";
import { type Cardinality, cardinalityOf, defaultOf, isInOneof, kindOf, typeText } from "./field-shape.ts";

/** One field before and after. */
interface FieldPair {
  readonly before: IndexedField;
  readonly after: IndexedField;
  readonly oldIndex: ContractIndex;
  readonly newIndex: ContractIndex;
  /** Names the field in sentences. */
  readonly subject: string;
}

type Change = readonly [rule: BreakingRule, change: string];

/** Types that read each other's bytes and JSON; others are alone. */
const compatibleTypes: Partial<Record<Type, string>> = {
  [Type.INT32]: "varint32",
  [Type.UINT32]: "varint32",
  [Type.INT64]: "varint64",
  [Type.UINT64]: "varint64",
  [Type.FIXED32]: "fixed32",
  [Type.SFIXED32]: "fixed32",
  [Type.FIXED64]: "fixed64",
  [Type.SFIXED64]: "fixed64",
};

const LONG_TYPES: ReadonlySet<Type> = new Set([Type.INT64, Type.UINT64, Type.SINT64, Type.FIXED64, Type.SFIXED64]);

const familyOf = (type: Type) => compatibleTypes[type] ?? Type[type];
const jsonNameOf = ({ jsonName, name }: FieldDescriptorProto) => jsonName || protoCamelCase(name);

function oneofOf(field: IndexedField, owner: IndexedMessage | undefined): string | undefined {
  return isInOneof(field.proto) ? owner?.proto.oneofDecl[field.proto.oneofIndex]?.name : undefined;
}

function* nameChanges({ before, after }: FieldPair): Generator<Change> {
  const [old, now] = before.extension ? [before.name, after.name] : [before.proto.name, after.proto.name];
  if (old !== now) yield ["FIELD_SAME_NAME", `It was called "${old}" and is now called "${now}".`];
  const [oldJson, nowJson] = [jsonNameOf(before.proto), jsonNameOf(after.proto)];
  if (!before.extension && oldJson !== nowJson) {
    yield ["FIELD_SAME_JSON_NAME", `Its name in JSON was "${oldJson}" and is now "${nowJson}".`];
  }
}

function shortName(typeName: string): string {
  return typeName.slice(typeName.lastIndexOf(".") + 1);
}

/** Whether a field may go from one enum to another: the same short name, and every old value as it was. */
function enumGrew({ before, after, oldIndex, newIndex }: FieldPair): boolean {
  const [old, now] = [before.proto.typeName, after.proto.typeName];
  if (shortName(old) !== shortName(now)) return false;
  const values = new Map(newIndex.enums.get(typeNameOf(now))?.proto.value.map(({ name, number }) => [name, number]));
  return (oldIndex.enums.get(typeNameOf(old))?.proto.value ?? []).every(
    ({ name, number }) => values.get(name) === number,
  );
}

function* typeChanges(pair: FieldPair): Generator<Change> {
  const { before, after, oldIndex, newIndex } = pair;
  const [oldKind, newKind] = [kindOf(before, oldIndex), kindOf(after, newIndex)];
  const renamed = before.proto.typeName !== after.proto.typeName;
  const change = `Its type was ${typeText(before, oldIndex)} and is now ${typeText(after, newIndex)}.`;
  if (familyOf(oldKind) !== familyOf(newKind)) yield ["FIELD_WIRE_JSON_COMPATIBLE_TYPE", change];
  else if (renamed && !(newKind === Type.ENUM && enumGrew(pair))) yield ["FIELD_WIRE_JSON_COMPATIBLE_TYPE", change];
  if (oldKind !== newKind || renamed) yield ["FIELD_SAME_TYPE", change];
}

const jsonShape = (cardinality: Cardinality) =>
  cardinality === "optional without presence" ? "optional" : cardinality;

function* cardinalityChanges({ before, after, oldIndex, newIndex }: FieldPair): Generator<Change> {
  if (before.mapEntry && after.mapEntry) return;
  const [old, now] = [cardinalityOf(before, oldIndex), cardinalityOf(after, newIndex)];
  if (old === now) return;
  const change = `It was ${old} and is now ${now}.`;
  if (jsonShape(old) !== jsonShape(now)) yield ["FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY", change];
  yield ["FIELD_SAME_CARDINALITY", change];
}

const isNothing = (value: string | number | bigint) => value === "" || value === 0n || Object.is(value, 0);

/** Values of different types are the same if they are the same number, floats as the shorter of the two has them. */
function sameDefault({ before, after, oldIndex, newIndex }: FieldPair): boolean {
  const [old, now] = [defaultOf(before, oldIndex), defaultOf(after, newIndex)];
  if (old === undefined || now === undefined || (isNothing(old) && isNothing(now))) return true;
  if (typeof old === "string" || typeof now === "string") return old === now;
  const types = [before.proto.type, after.proto.type];
  if (types.includes(Type.FLOAT) && types.includes(Type.DOUBLE)) {
    return Object.is(Math.fround(Number(old)), Math.fround(Number(now)));
  }
  // biome-ignore lint/suspicious/noDoubleEquals: the only comparison of number and bigint that is exact.
  return old == now || Object.is(old, now);
}

function* defaultChanges(pair: FieldPair): Generator<Change> {
  if (sameDefault(pair)) return;
  const [old, now] = [defaultOf(pair.before, pair.oldIndex), defaultOf(pair.after, pair.newIndex)];
  yield [
    "FIELD_SAME_DEFAULT",
    `Its default was ${old === "" ? "empty" : old} and is now ${now === "" ? "empty" : now}.`,
  ];
}

function* optionChanges({ before, after }: FieldPair): Generator<Change> {
  const types = [before.proto.type, after.proto.type];
  const [old, now] = [before, after].map(({ proto }) => proto.options?.jstype ?? FieldOptions_JSType.JS_NORMAL);
  if (old !== now && types.every((type) => LONG_TYPES.has(type))) {
    yield ["FIELD_SAME_JSTYPE", "Its option jstype changed."];
  }
  const validated = before.features.utf8Validation === after.features.utf8Validation;
  if (!validated && types.every((type) => type === Type.STRING)) {
    yield ["FIELD_SAME_UTF8_VALIDATION", "Whether its text must be UTF-8 changed."];
  }
}

function* fieldChanges(pair: FieldPair): Generator<Change> {
  yield* nameChanges(pair);
  yield* typeChanges(pair);
  yield* cardinalityChanges(pair);
  yield* defaultChanges(pair);
  yield* optionChanges(pair);
}

function* oneofChanges(pair: FieldPair, [old, now]: readonly [IndexedMessage, IndexedMessage]): Generator<Change> {
  const [oldOneof, newOneof] = [oneofOf(pair.before, old), oneofOf(pair.after, now)];
  if (oldOneof === newOneof) return;
  const place = (oneof: string | undefined) => (oneof === undefined ? "in no oneof" : `in the oneof "${oneof}"`);
  yield ["FIELD_SAME_ONEOF", `It was ${place(oldOneof)} and is now ${place(newOneof)}.`];
}

/** Names the key or value of a map by the map's field. */
function subjectOf(field: IndexedField, owner: IndexedMessage): string {
  if (owner.mapField === undefined) return field.name;
  return `${owner.name.slice(0, owner.name.lastIndexOf("."))}.${owner.mapField} (${field.proto.name})`;
}

/** What changed in the fields that a message has before and after, by number. */
export function* fieldFindings(
  messages: readonly [IndexedMessage, IndexedMessage],
  indexes: readonly [ContractIndex, ContractIndex],
): Generator<Finding> {
  const [oldMessage, newMessage] = messages;
  const [oldIndex, newIndex] = indexes;
  const now = fieldsOf(newMessage);
  for (const [number, before] of fieldsOf(oldMessage)) {
    const after = now.get(number);
    if (after === undefined) continue;
    const subject = subjectOf(before, oldMessage);
    const pair = { before, after, oldIndex, newIndex, subject };
    for (const changes of [fieldChanges(pair), oneofChanges(pair, messages)]) {
      for (const [rule, change] of changes) yield { rule, file: before.file.name, subject, change };
    }
  }
}

/** What changed in extensions, by what they extend and their number. */
export function* extensionFindings(oldIndex: ContractIndex, newIndex: ContractIndex): Generator<Finding> {
  for (const [key, before] of oldIndex.extensions) {
    const after = newIndex.extensions.get(key);
    if (after === undefined) continue;
    const pair = { before, after, oldIndex, newIndex, subject: before.name };
    for (const [rule, change] of fieldChanges(pair)) {
      yield { rule, file: before.file.name, subject: before.name, change };
    }
  }
}
