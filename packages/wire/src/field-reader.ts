const LENGTH_DELIMITED = 2;
const VARINT = 0;
const FIXED64 = 1;
const FIXED32 = 5;
const SEVEN_BITS = 128;
const LONGEST_VARINT = 10;
const EMPTY = new Uint8Array(0);

/** Raised inside this package when bytes are not what the protobuf wire format allows. */
export class MalformedError extends Error {}

/**
 * Walks the fields of one protobuf message in place, without making objects; one reader is used again and again.
 * Wire format as in protobuf.dev, "Encoding".
 */
export class FieldReader {
  /** Number of the field just read. */
  field = 0;
  /** Value of a varint field; exact up to 2^53. */
  value = 0;
  /** Where a length-delimited field starts; equal to `to` for other kinds. */
  from = 0;
  /** Where a length-delimited field ends. */
  to = 0;
  /** Where the field's tag starts. */
  tagAt = 0;
  #bytes: Uint8Array = EMPTY;
  #at = 0;
  #end = 0;

  /** Starts over on a message. */
  reset(bytes: Uint8Array, from: number, to: number): this {
    this.#bytes = bytes;
    this.#at = from;
    this.#end = to;
    return this;
  }

  /** Lets go of the bytes, so that a reader that is kept does not keep them. */
  release(): void {
    this.#bytes = EMPTY;
  }

  /** Moves to the next field; false at the end. @throws MalformedError */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    this.tagAt = this.#at;
    const tag = this.#varint();
    this.field = Math.floor(tag / 8);
    if (this.field === 0) throw new MalformedError("a field has number 0");
    switch (tag % 8) {
      case LENGTH_DELIMITED:
        this.#delimit(this.#varint());
        break;
      case VARINT:
        this.value = this.#varint();
        this.from = this.to = this.#at;
        break;
      case FIXED64:
        this.#delimit(8);
        break;
      case FIXED32:
        this.#delimit(4);
        break;
      default:
        throw new MalformedError(`field ${this.field} has a wire type that is not in use`);
    }
    return true;
  }

  #delimit(length: number): void {
    this.from = this.#at;
    this.to = this.#at + length;
    if (this.to > this.#end) throw new MalformedError(`field ${this.field} is cut off`);
    this.#at = this.to;
  }

  #varint(): number {
    const bytes = this.#bytes;
    const first = this.#at < this.#end ? (bytes[this.#at] as number) : SEVEN_BITS;
    if (first < SEVEN_BITS) {
      this.#at += 1;
      return first;
    }
    let value = 0;
    let scale = 1;
    for (let count = 0; count < LONGEST_VARINT; count += 1) {
      if (this.#at >= this.#end) throw new MalformedError("a number is cut off");
      const byte = bytes[this.#at] as number;
      this.#at += 1;
      value += (byte % SEVEN_BITS) * scale;
      if (byte < SEVEN_BITS) return value;
      scale *= SEVEN_BITS;
    }
    throw new MalformedError("a number is longer than ten bytes");
  }
}

/** How many bytes a varint takes; for whole numbers from 0 to 2^53. */
export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= SEVEN_BITS; rest = Math.floor(rest / SEVEN_BITS)) bytes += 1;
  return bytes;
}

/** Writes a varint and answers with the position after it; for whole numbers from 0 to 2^53. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let position = at;
  let rest = value;
  while (rest >= SEVEN_BITS) {
    bytes[position] = (rest % SEVEN_BITS) + SEVEN_BITS;
    position += 1;
    rest = Math.floor(rest / SEVEN_BITS);
  }
  bytes[position] = rest;
  return position + 1;
}
