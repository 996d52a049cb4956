import { FeatureSet_JsonFormat, FieldDescriptorProto_Label as Label } from "@bufbuild/protobuf/wkt";
import type { BreakingRule, Finding } from "./breaking-rule.ts";
import { type ContractIndex, fieldsOf, type IndexedMessage } from "./contract-index.ts";
import { fieldFindings } from "./field-rules.ts";
import { isInOneof } from "./field-shape.ts";
import { holds, type NumberRange, rangeText, uncovered } from "./number-ranges.ts";

type Change = readonly [rule: BreakingRule, change: string, member?: string | undefined];

/** Messages count ranges up to a number that is no longer part of it. */
function inclusive(ranges: readonly { start: number; end: number }[]): NumberRange[] {
  return ranges.map(({ start, end }) => ({ start, end: end - 1 }));
}

/** Parts of reserved or extension ranges that are no longer. */
export function* rangeChanges(
  rule: BreakingRule,
  before: readonly NumberRange[],
  after: readonly NumberRange[],
): Generator<Change> {
  const what = rule === "EXTENSION_MESSAGE_NO_DELETE" ? "open for extensions" : "reserved";
  for (const range of before) {
    const open = uncovered(range, after);
    if (open.length > 0) yield [rule, `The numbers ${open.map(rangeText).join(", ")} are no longer ${what}.`];
  }
}

/** Reserved names that are no longer. */
export function* reservedNameChanges(
  rule: BreakingRule,
  before: readonly string[],
  after: readonly string[],
): Generator<Change> {
  for (const name of new Set(before)) {
    if (!after.includes(name)) yield [rule, `The name "${name}" is no longer reserved.`];
  }
}

function* removedFields(before: IndexedMessage, after: IndexedMessage): Generator<Change> {
  const now = fieldsOf(after);
  const { reservedName, reservedRange } = after.proto;
  for (const [number, { proto }] of fieldsOf(before)) {
    if (now.has(number)) continue;
    const change = `The field "${proto.name}" (number ${number}) was removed`;
    if (!reservedName.includes(proto.name)) {
      yield ["FIELD_NO_DELETE_UNLESS_NAME_RESERVED", `${change} and its name is not reserved.`, proto.name];
    }
    if (!holds(inclusive(reservedRange), number)) {
      yield ["FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED", `${change} and its number is not reserved.`, proto.name];
    }
    yield ["FIELD_NO_DELETE", `${change}.`, proto.name];
  }
}

function requiredFields(message: IndexedMessage): Map<number, string> {
  const required = message.proto.field.filter(({ label }) => label === Label.REQUIRED);
  return new Map(required.map(({ number, name }) => [number, name]));
}

function* requiredChanges(before: IndexedMessage, after: IndexedMessage): Generator<Change> {
  const [old, now] = [requiredFields(before), requiredFields(after)];
  const rule = "MESSAGE_SAME_REQUIRED_FIELDS";
  for (const [number, name] of old) if (!now.has(number)) yield [rule, `"${name}" is no longer required.`, name];
  for (const [number, name] of now) if (!old.has(number)) yield [rule, `"${name}" is now required.`, name];
}

/** The oneofs that the source wrote. */
function oneofsOf({ proto }: IndexedMessage): string[] {
  const written = new Set(proto.field.filter(isInOneof).map(({ oneofIndex }) => oneofIndex));
  return proto.oneofDecl.filter((_, index) => written.has(index)).map(({ name }) => name);
}

function* optionChanges(before: IndexedMessage, after: IndexedMessage): Generator<Change> {
  const { ALLOW } = FeatureSet_JsonFormat;
  if (before.features.jsonFormat === ALLOW && after.features.jsonFormat !== ALLOW) {
    yield ["MESSAGE_SAME_JSON_FORMAT", "It can no longer be sent as JSON by everybody."];
  }
  const [hadNone, hasNone] = [before, after].map(({ proto }) => proto.options?.noStandardDescriptorAccessor ?? false);
  if (!hadNone && hasNone) {
    yield ["MESSAGE_NO_REMOVE_STANDARD_DESCRIPTOR_ACCESSOR", "It lost its standard descriptor accessor."];
  }
}

function* messageChanges(before: IndexedMessage, after: IndexedMessage): Generator<Change> {
  yield* removedFields(before, after);
  yield* requiredChanges(before, after);
  yield* optionChanges(before, after);
  const [old, now] = [before.proto, after.proto];
  const reserved = "RESERVED_MESSAGE_NO_DELETE";
  yield* rangeChanges(reserved, inclusive(old.reservedRange), inclusive(now.reservedRange));
  yield* reservedNameChanges(reserved, old.reservedName, now.reservedName);
  yield* rangeChanges("EXTENSION_MESSAGE_NO_DELETE", inclusive(old.extensionRange), inclusive(now.extensionRange));
  const names = now.oneofDecl.map(({ name }) => name);
  for (const name of oneofsOf(before)) {
    if (!names.includes(name)) yield ["ONEOF_NO_DELETE", `The oneof "${name}" was removed.`];
  }
}

/** What changed in messages that are there before and after. */
export function* messageFindings(oldIndex: ContractIndex, newIndex: ContractIndex): Generator<Finding> {
  for (const [name, before] of oldIndex.messages) {
    const after = newIndex.messages.get(name);
    if (after === undefined) continue;
    for (const [rule, change, member] of messageChanges(before, after)) {
      yield { rule, file: before.file.name, subject: member ? `${name}.${member}` : name, change };
    }
    yield* fieldFindings([before, after], [oldIndex, newIndex]);
  }
}
