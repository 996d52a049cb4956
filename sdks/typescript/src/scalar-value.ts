import { ScalarType } from "@bufbuild/protobuf";

/** The types of 64 bits. */
const LONG = new Set([ScalarType.INT64, ScalarType.SINT64, ScalarType.SFIXED64, ScalarType.UINT64, ScalarType.FIXED64]);

/** What a message holds for a scalar value that may be given in other forms too; undefined: it does not fit. */
export function scalarOf(type: ScalarType, value: unknown): unknown {
  const read = LONG.has(type) ? longOf(value) : value;
  if (fits(type, read)) return read;
  const isReal = type === ScalarType.DOUBLE || type === ScalarType.FLOAT;
  return isReal && typeof value === "string" && isNumberWord(value) ? Number(value) : undefined;
}

const isNumberWord = (text: string) => text === "NaN" || text === "Infinity" || text === "-Infinity";

function longOf(value: unknown): unknown {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  return typeof value === "string" && /^-?\d{1,20}$/.test(value) ? BigInt(value) : value;
}

/** Whether a value is one of a scalar type, as messages hold it. */
function fits(type: ScalarType, value: unknown): boolean {
  switch (type) {
    case ScalarType.BOOL:
      return typeof value === "boolean";
    case ScalarType.STRING:
      return typeof value === "string";
    case ScalarType.BYTES:
      return value instanceof Uint8Array;
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return typeof value === "number";
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return typeof value === "bigint" && BigInt.asUintN(64, value) === value;
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return typeof value === "bigint" && BigInt.asIntN(64, value) === value;
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffffffff;
    default:
      return Number.isInteger(value) && (value as number) === ((value as number) | 0);
  }
}

/** Milliseconds to the nanosecond, as far as a number has them. */
export function durationOf(ms: number): { seconds: bigint; nanos: number } {
  const seconds = Math.trunc(ms / 1_000);
  const nanos = Math.round((ms - seconds * 1_000) * 1e6);
  const over = Math.trunc(nanos / 1e9);
  return { seconds: BigInt(seconds + over), nanos: nanos - over * 1e9 };
}
