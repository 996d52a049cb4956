import { MAX_DATA_BYTES } from "./frame.ts";
import { shortLived } from "./slab.ts";

/** One place in memory serves most messages of the process. */
const small = Buffer.allocUnsafeSlow(64 * 1024);
/** Larger ones get a place of their own, up to what a frame can carry; beyond, they are left to the library. */
const LARGER_BYTES = [1 << 20, MAX_DATA_BYTES];

let scratch = small;
/** How much room there is. */
let size = small.length;
/** Where the next byte goes. What is written beyond the end is nowhere. */
let at = 0;

/** Writes a value; false: it is none that is written here. */
export type Put = (value: unknown) => boolean;

/**
 * The bytes that `write` puts down; undefined if it answers false, or they are more than a frame carries. One at a time:
 * `write` must not come back here. It is asked again where there turns out to be too little room.
 */
export function scratched<T>(write: (value: T) => boolean, value: T): Buffer | undefined {
  at = 0;
  if (write(value) && at <= size) {
    const bytes = shortLived(at);
    scratch.copy(bytes, 0, 0, at);
    return bytes;
  }
  return isFull() ? withMoreRoom(write, value) : undefined;
}

function withMoreRoom<T>(write: (value: T) => boolean, value: T): Buffer | undefined {
  try {
    for (const bytes of LARGER_BYTES) {
      scratch = Buffer.allocUnsafeSlow(bytes);
      size = bytes;
      at = 0;
      if (write(value) && at <= size) return scratch.subarray(0, at);
      if (!isFull()) return undefined;
    }
    return undefined;
  } finally {
    scratch = small;
    size = small.length;
  }
}

/** True once more has been written than there is room for: a long list need not be gone through then. */
export function isFull(): boolean {
  return at > size;
}

function overflow(): false {
  at = size + 1;
  return false;
}

/** Writes a whole number from 0 to 2^32 - 1. */
export function putVarint(value: number): void {
  let rest = value;
  while (rest > 0x7f) {
    scratch[at] = (rest & 0x7f) | 0x80;
    at += 1;
    rest >>>= 7;
  }
  scratch[at] = rest;
  at += 1;
}

/** Writes a 64-bit number by its two halves, as varints do: a negative one takes ten bytes. */
export function putVarint64(low: number, high: number): void {
  if (high === 0) {
    putVarint(low);
    return;
  }
  let lower = low;
  let upper = high;
  while (upper > 0) {
    scratch[at] = (lower & 0x7f) | 0x80;
    at += 1;
    lower = ((lower >>> 7) | (upper << 25)) >>> 0;
    upper >>>= 7;
  }
  putVarint(lower);
}

/** Writes one byte as it is. */
export function putByte(value: number): void {
  scratch[at] = value;
  at += 1;
}

/** Writes something behind its length. Most lengths take one byte, so room is made for one. */
export function putSized<T>(put: (value: T) => boolean, value: T): boolean {
  const from = at;
  at += 1;
  if (!put(value) || at > size) return false;
  const length = at - from - 1;
  if (length <= 0x7f) {
    scratch[from] = length;
    return true;
  }
  const lengthBytes = length < 0x4000 ? 2 : length < 0x200000 ? 3 : 4;
  if (at + lengthBytes > size) return overflow();
  scratch.copyWithin(from + lengthBytes, from + 1, at);
  at = from;
  putVarint(length);
  at += length;
  return true;
}

/** Writes a text behind its length; false: it is none, or has half a character. */
export function putText(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const { length } = value;
  if (length > 0x7f) return putLongText(value);
  const from = at;
  scratch[at] = length;
  at += 1;
  for (let n = 0; n < length; n += 1) {
    const code = value.charCodeAt(n);
    if (code > 0x7f) {
      at = from;
      return putLongText(value);
    }
    scratch[at + n] = code;
  }
  at += length;
  return true;
}

function putLongText(value: string): boolean {
  if (!value.isWellFormed()) return false;
  const bytes = Buffer.byteLength(value);
  if (at + bytes + 5 > size) return overflow();
  putVarint(bytes);
  scratch.write(value, at);
  at += bytes;
  return true;
}

/** Writes true or false. */
export function putBool(value: unknown): boolean {
  if (typeof value !== "boolean") return false;
  putByte(value ? 1 : 0);
  return true;
}

/** Writes a whole number of 32 bits. */
export function putInt32(value: unknown): boolean {
  if (typeof value !== "number" || (value | 0) !== value) return false;
  putVarint64(value >>> 0, value < 0 ? 0xffffffff : 0);
  return true;
}

/** Writes a whole number of 32 bits that is not negative. */
export function putUint32(value: unknown): boolean {
  if (typeof value !== "number" || value >>> 0 !== value) return false;
  putVarint(value);
  return true;
}

const LARGEST_UINT32 = 0xffffffffn;

/** Writes a bigint of 64 bits. */
export function putInt64(value: unknown): boolean {
  if (typeof value !== "bigint") return false;
  return value >= 0n && value <= LARGEST_UINT32 ? putUint32(Number(value)) : putWide(value, BigInt.asIntN(64, value));
}

/** Writes a bigint of 64 bits that is not negative. */
export function putUint64(value: unknown): boolean {
  if (typeof value !== "bigint") return false;
  return value >= 0n && value <= LARGEST_UINT32 ? putUint32(Number(value)) : putWide(value, BigInt.asUintN(64, value));
}

function putWide(value: bigint, fitted: bigint): boolean {
  if (value !== fitted) return false;
  putVarint64(Number(BigInt.asUintN(32, value)), Number(BigInt.asUintN(32, value >> 32n)));
  return true;
}

/** Writes a number of eight bytes. */
export function putDouble(value: unknown): boolean {
  if (typeof value !== "number") return false;
  if (at + 8 > size) return overflow();
  scratch.writeDoubleLE(value, at);
  at += 8;
  return true;
}

/** Writes bytes behind their length. */
export function putBytes(value: unknown): boolean {
  if (!(value instanceof Uint8Array)) return false;
  if (at + value.length + 5 > size) return overflow();
  putVarint(value.length);
  scratch.set(value, at);
  at += value.length;
  return true;
}
