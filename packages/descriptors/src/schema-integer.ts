import type { JsonObject } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Type as Type } from "@bufbuild/protobuf/wkt";

type IntegerType = Type.INT32 | Type.UINT32 | Type.INT64 | Type.UINT64;

const ranges: readonly (readonly [IntegerType, number, number])[] = [
  [Type.INT32, -(2 ** 31), 2 ** 31 - 1],
  [Type.UINT32, 0, 2 ** 32 - 1],
  [Type.INT64, -(2 ** 63), 2 ** 63],
  [Type.UINT64, 0, 2 ** 64],
];

const formats: Record<string, IntegerType> = {
  int32: Type.INT32,
  uint32: Type.UINT32,
  int64: Type.INT64,
  uint64: Type.UINT64,
};

function boundOf(own: unknown, exclusive: unknown, unbounded: number): number {
  const bounds = [own, exclusive].filter((value) => typeof value === "number");
  return bounds.length === 0 ? unbounded : (bounds[0] as number);
}

/**
 * The type of a JSON Schema integer: as its format says, else the first of int32, uint32 and int64 that holds its bounds;
 * int64 without bounds. A type that the field had before is kept while it holds them.
 */
export function integerType(keywords: JsonObject, before: Type | undefined): IntegerType {
  const named = typeof keywords.format === "string" ? formats[keywords.format] : undefined;
  if (named !== undefined) return named;
  const least = boundOf(keywords.minimum, keywords.exclusiveMinimum, -(2 ** 63));
  const most = boundOf(keywords.maximum, keywords.exclusiveMaximum, 2 ** 63);
  const fitting = ranges.filter(([, from, to]) => from <= least && most <= to).map(([type]) => type);
  return fitting.find((type) => type === before) ?? fitting[0] ?? Type.INT64;
}
