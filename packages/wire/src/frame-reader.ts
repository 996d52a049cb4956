import { HEADER_BYTES, MAX_DATA_BYTES, MAX_PLAUSIBLE_BYTES, readU32 } from "./frame.ts";

/** One frame, valid until the sink returns: the data is `bytes[start..end)`, and a sink may keep parts of `bytes`. */
export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Takes what a reader finds; it must not throw. */
export interface FrameSink {
  frame(frame: Frame): void;
  /** A frame above the limit; its data is being discarded. */
  oversized(frame: Frame, length: number): void;
  /** The peer does not speak frames; nothing more is read. */
  garbage(): void;
}

const NOTHING = Buffer.alloc(0);
const FIRST_CARRY_BYTES = 512;

/**
 * Cuts a byte stream into frames. It copies nothing but frames that arrive in pieces, and holds at most one frame,
 * growing with what has really arrived.
 */
export class FrameReader implements Frame {
  type = 0;
  flags = 0;
  stream = 0;
  bytes: Buffer = NOTHING;
  start = 0;
  end = 0;
  readonly #sink: FrameSink;
  #carry: Buffer = NOTHING;
  #carried = 0;
  #skip = 0;
  #stopped = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** True between frames: nothing of an unfinished one has been read. */
  get idle(): boolean {
    return this.#carried === 0 && this.#skip === 0;
  }

  /** Ignores whatever comes from now on. */
  stop(): void {
    this.#stopped = true;
    this.#carry = NOTHING;
    this.#carried = 0;
  }

  /** Reads on. The chunk must not be changed afterwards: frames are parts of it. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      if (this.#skip > 0) at = this.#discard(chunk, at);
      else if (this.#carried > 0) at = this.#complete(chunk, at);
      else at = this.#walk(chunk, at);
    }
  }

  #discard(chunk: Buffer, at: number): number {
    const gone = Math.min(this.#skip, chunk.length - at);
    this.#skip -= gone;
    return at + gone;
  }

  /** Emits the whole frames of a chunk; stops at what is skipped, or carries the unfinished rest. */
  #walk(chunk: Buffer, from: number): number {
    let at = from;
    while (at + HEADER_BYTES <= chunk.length) {
      const length = readU32(chunk, at);
      if (length > MAX_DATA_BYTES) {
        this.#refuse(chunk, at, length);
        return at + HEADER_BYTES;
      }
      const end = at + HEADER_BYTES + length;
      if (end > chunk.length) break;
      this.#emit(chunk, at, end);
      if (this.#stopped) return chunk.length;
      at = end;
    }
    if (at < chunk.length) this.#keep(chunk, at, chunk.length);
    return chunk.length;
  }

  #complete(chunk: Buffer, at: number): number {
    const goal = this.#carried < HEADER_BYTES ? HEADER_BYTES : HEADER_BYTES + readU32(this.#carry, 0);
    const end = Math.min(chunk.length, at + goal - this.#carried);
    this.#keep(chunk, at, end);
    if (this.#carried < HEADER_BYTES) return end;
    const length = readU32(this.#carry, 0);
    const whole = this.#carry;
    if (length > MAX_DATA_BYTES) {
      this.#drop();
      this.#refuse(whole, 0, length);
    } else if (this.#carried === HEADER_BYTES + length) {
      this.#drop();
      this.#emit(whole, 0, HEADER_BYTES + length);
    }
    return end;
  }

  #drop(): void {
    this.#carry = NOTHING;
    this.#carried = 0;
  }

  #keep(chunk: Buffer, from: number, to: number): void {
    const need = this.#carried + to - from;
    if (need > this.#carry.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(need, FIRST_CARRY_BYTES, this.#carry.length * 2));
      this.#carry.copy(larger, 0, 0, this.#carried);
      this.#carry = larger;
    }
    chunk.copy(this.#carry, this.#carried, from, to);
    this.#carried = need;
  }

  #refuse(bytes: Buffer, at: number, length: number): void {
    if (length > MAX_PLAUSIBLE_BYTES) {
      this.stop();
      this.#sink.garbage();
      return;
    }
    this.#skip = length;
    this.#header(bytes, at);
    this.start = 0;
    this.end = 0;
    this.#sink.oversized(this, length);
  }

  #emit(bytes: Buffer, at: number, end: number): void {
    this.#header(bytes, at);
    this.bytes = bytes;
    this.start = at + HEADER_BYTES;
    this.end = end;
    this.#sink.frame(this);
    this.bytes = NOTHING;
  }

  #header(bytes: Buffer, at: number): void {
    this.stream = readU32(bytes, at + 4);
    this.type = bytes[at + 8] as number;
    this.flags = bytes[at + 9] as number;
  }
}
