/** OIDs of the types that arrays are made of here (PostgreSQL's pg_type.dat); they never change. */
const OID = { bytea: 17, int8: 20, int2: 21, text: 25 } as const;
const HEAD_BYTES = 20;
const LENGTH_BYTES = 4;

/**
 * Values as one parameter in PostgreSQL's binary form of an array (array_recv in its arrayfuncs.c), which neither side has to
 * quote or to parse: a few thousand rows arrive by `unnest` at half of the processor time. The parameter needs its cast:
 * `unnest(${binaryArray.text(names)}::text[])`.
 */
export const binaryArray = {
  text: (values: readonly string[]): Buffer => {
    // The longest that each can be; what is not needed is cut off at the end.
    const most = values.reduce((sum, value) => sum + value.length * 3, 0);
    return write("text", { values, most }, (bytes, at, value) => bytes.write(value, at, "utf8"));
  },
  bytea: (values: readonly Uint8Array[]): Buffer => {
    const most = values.reduce((sum, value) => sum + value.length, 0);
    return write("bytea", { values, most }, (bytes, at, value) => {
      bytes.set(value, at);
      return value.length;
    });
  },
  /** Whole numbers up to 2^53. */
  int8: (values: readonly number[]): Buffer =>
    write("int8", { values, most: values.length * 8 }, (bytes, at, value) => {
      bytes.writeBigInt64BE(BigInt(value), at);
      return 8;
    }),
  int2: (values: readonly number[]): Buffer =>
    write("int2", { values, most: values.length * 2 }, (bytes, at, value) => {
      bytes.writeInt16BE(value, at);
      return 2;
    }),
};

interface Elements<T> {
  readonly values: readonly T[];
  /** Bytes that they need together at most. */
  readonly most: number;
}

function write<T>(
  type: keyof typeof OID,
  { values, most }: Elements<T>,
  put: (bytes: Buffer, at: number, value: T) => number,
): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + values.length * LENGTH_BYTES + most);
  // One dimension, no nulls; then its length and the number of its first element.
  for (const [index, word] of [1, 0, OID[type], values.length, 1].entries()) bytes.writeInt32BE(word, index * 4);
  let at = HEAD_BYTES;
  for (const value of values) {
    const length = put(bytes, at + LENGTH_BYTES, value);
    bytes.writeInt32BE(length, at);
    at += LENGTH_BYTES + length;
  }
  return bytes.subarray(0, at);
}
