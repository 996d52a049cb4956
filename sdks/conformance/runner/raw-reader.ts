import type { RawFrame } from "./raw-frames.ts";

/** Cuts what arrives into frames. */
export class RawReader {
  #rest: Buffer = Buffer.alloc(0);

  /** The frames that are complete with this piece. */
  push(piece: Buffer): RawFrame[] {
    this.#rest = Buffer.concat([this.#rest, piece]);
    const found: RawFrame[] = [];
    while (this.#rest.length >= 10) {
      const end = 10 + this.#rest.readUInt32BE(0);
      if (this.#rest.length < end) break;
      const [stream, type, flags] = [this.#rest.readUInt32BE(4), this.#rest.readUInt8(8), this.#rest.readUInt8(9)];
      found.push({ stream, type, flags, data: Buffer.from(this.#rest.subarray(10, end)) });
      this.#rest = this.#rest.subarray(end);
    }
    return found;
  }
}
