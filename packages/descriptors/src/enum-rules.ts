import { FeatureSet_EnumType, FeatureSet_JsonFormat } from "@bufbuild/protobuf/wkt";
import type { BreakingRule, Finding } from "./breaking-rule.ts";
import type { ContractIndex, IndexedEnum } from "./contract-index.ts";
import { rangeChanges, reservedNameChanges } from "./message-rules.ts";
import { holds } from "./number-ranges.ts";

type Change = readonly [rule: BreakingRule, change: string, member?: string | undefined];

function namesByNumber({ proto }: IndexedEnum): Map<number, string[]> {
  const names = new Map<number, string[]>();
  for (const { number, name } of proto.value) names.set(number, [...(names.get(number) ?? []), name]);
  return names;
}

const quoted = (names: readonly string[]) => names.map((name) => `"${name}"`).join(", ");

function* removedValue(number: number, names: readonly string[], { proto }: IndexedEnum): Generator<Change> {
  const change = `The value ${quoted(names)} (number ${number}) was removed`;
  const member = names[0];
  if (!names.every((name) => proto.reservedName.includes(name))) {
    yield ["ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED", `${change} and its name is not reserved.`, member];
  }
  if (!holds(proto.reservedRange, number)) {
    yield ["ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED", `${change} and its number is not reserved.`, member];
  }
  yield ["ENUM_VALUE_NO_DELETE", `${change}.`, member];
}

function* valueChanges(before: IndexedEnum, after: IndexedEnum): Generator<Change> {
  const now = namesByNumber(after);
  for (const [number, names] of namesByNumber(before)) {
    const left = now.get(number);
    if (left === undefined) yield* removedValue(number, names, after);
    else if (!names.every((name) => left.includes(name))) {
      const change = `The value ${number} was called ${quoted(names)} and is now called ${quoted(left)}.`;
      yield ["ENUM_VALUE_SAME_NAME", change, names[0]];
    }
  }
}

function* enumChanges(before: IndexedEnum, after: IndexedEnum): Generator<Change> {
  yield* valueChanges(before, after);
  yield* rangeChanges("RESERVED_ENUM_NO_DELETE", before.proto.reservedRange, after.proto.reservedRange);
  yield* reservedNameChanges("RESERVED_ENUM_NO_DELETE", before.proto.reservedName, after.proto.reservedName);
  const { ALLOW } = FeatureSet_JsonFormat;
  if (before.features.jsonFormat === ALLOW && after.features.jsonFormat !== ALLOW) {
    yield ["ENUM_SAME_JSON_FORMAT", "It can no longer be sent as JSON by everybody."];
  }
  if (before.features.enumType !== after.features.enumType) {
    const now = after.features.enumType === FeatureSet_EnumType.CLOSED ? "refuses" : "keeps";
    yield ["ENUM_SAME_TYPE", `It now ${now} numbers that it does not name.`];
  }
}

/** What changed in enums that are there before and after. */
export function* enumFindings(oldIndex: ContractIndex, newIndex: ContractIndex): Generator<Finding> {
  for (const [name, before] of oldIndex.enums) {
    const after = newIndex.enums.get(name);
    if (after === undefined) continue;
    for (const [rule, change, member] of enumChanges(before, after)) {
      yield { rule, file: before.file.name, subject: member ? `${name}.${member}` : name, change };
    }
  }
}
