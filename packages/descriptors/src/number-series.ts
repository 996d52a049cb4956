import { create } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProto_ReservedRangeSchema,
  type EnumDescriptorProto,
  EnumDescriptorProto_EnumReservedRangeSchema,
  EnumValueDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";

/** Numbers that protobuf keeps for itself. */
const [RESERVED_FROM, RESERVED_TO] = [19_000, 19_999];

/**
 * Numbers the fields of a message: those that were there keep theirs, new ones get the next that nobody ever had, in the
 * order given, and the numbers and names of those that went are reserved.
 */
export class NumberSeries {
  readonly #before: DescriptorProto | undefined;
  readonly #numbers = new Map<string, number>();

  /** `names` are the names in JSON. */
  constructor(before: DescriptorProto | undefined, names: readonly string[]) {
    this.#before = before;
    const known = new Map(before?.field.map(({ name, jsonName, number }) => [jsonName || name, number]));
    let next = Math.max(0, ...known.values(), ...(before?.reservedRange.map(({ end }) => end - 1) ?? [])) + 1;
    for (const name of names) {
      const kept = known.get(name);
      if (kept === undefined && next >= RESERVED_FROM && next <= RESERVED_TO) next = RESERVED_TO + 1;
      this.#numbers.set(name, kept ?? next);
      if (kept === undefined) next += 1;
    }
  }

  /** The number of a field by its name in JSON. */
  numberOf(name: string): number {
    return this.#numbers.get(name) ?? 0;
  }

  /** Writes what is reserved into the message; a name that has come back is not. */
  reserveIn(message: DescriptorProto): void {
    if (this.#before === undefined) return;
    const gone = this.#before.field.filter(({ name, jsonName }) => !this.#numbers.has(jsonName || name));
    const names = new Set(message.field.map(({ name }) => name));
    const reserved = [...this.#before.reservedName, ...gone.map(({ name }) => name)];
    message.reservedName.push(...reserved.filter((name) => !names.has(name)));
    const ranges = [...this.#before.reservedRange, ...gone.map(({ number }) => ({ start: number, end: number + 1 }))];
    message.reservedRange.push(
      ...ranges.map(({ start, end }) => create(DescriptorProto_ReservedRangeSchema, { start, end })),
    );
  }
}

/** Adds values to an enum that has its zero: with the numbers they had before, or the next; what went is reserved. */
export function continueEnum(
  proto: EnumDescriptorProto,
  before: EnumDescriptorProto | undefined,
  names: readonly string[],
): void {
  const known = new Map(before?.value.map(({ name, number }) => [name, number]));
  let next = Math.max(0, ...known.values(), ...(before?.reservedRange.map(({ end }) => end) ?? [])) + 1;
  for (const name of names) {
    const number = known.get(name) ?? next;
    if (number === next) next += 1;
    proto.value.push(create(EnumValueDescriptorProtoSchema, { name, number }));
  }
  proto.value.sort((a, b) => a.number - b.number);
  const now = new Set(proto.value.map(({ name }) => name));
  const gone = [...known].filter(([name, number]) => number !== 0 && !now.has(name));
  proto.reservedName.push(
    ...(before?.reservedName ?? []).filter((name) => !now.has(name)),
    ...gone.map(([name]) => name),
  );
  const ranges = [...(before?.reservedRange ?? []), ...gone.map(([, number]) => ({ start: number, end: number }))];
  proto.reservedRange.push(
    ...ranges.map(({ start, end }) => create(EnumDescriptorProto_EnumReservedRangeSchema, { start, end })),
  );
}
