/** Where the bytes of decoded chunks go. */
interface BodySink {
  onResponseBody(bytes: Buffer, start: number, end: number): void;
}

const Step = {
  SIZE: 0,
  EXTENSION: 1,
  SIZE_LF: 2,
  DATA: 3,
  DATA_CR: 4,
  DATA_LF: 5,
  TRAILER: 6,
  LAST_LF: 7,
  DONE: 8,
} as const;

const CR = 13;
const LF = 10;
const MAX_LINE_BYTES = 16_384;

function hexValue(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

/** Undoes the chunked coding (RFC 9112 §7.1) of bytes split anywhere; extensions and trailers are read and dropped. */
export class ChunkedDecoder {
  #step: number = Step.SIZE;
  #size = 0;
  #digits = 0;
  #lineBytes = 0;

  /** Starts a new body. */
  reset(): void {
    this.#step = Step.SIZE;
    this.#size = 0;
    this.#digits = 0;
    this.#lineBytes = 0;
  }

  /** Whether the last chunk and the trailers have been read. */
  get isComplete(): boolean {
    return this.#step === Step.DONE;
  }

  /** Answers with the position it read up to, or -1 if the coding is broken. */
  decode(bytes: Buffer, { start, end }: { start: number; end: number }, sink: BodySink): number {
    let position = start;
    while (position < end && this.#step !== Step.DONE) {
      if (this.#step === Step.DATA) {
        const take = Math.min(end - position, this.#size);
        this.#size -= take;
        if (this.#size === 0) this.#step = Step.DATA_CR;
        sink.onResponseBody(bytes, position, position + take);
        position += take;
      } else if (!this.#takeByte(bytes[position++] as number)) {
        return -1;
      }
    }
    return position;
  }

  #takeByte(code: number): boolean {
    switch (this.#step) {
      case Step.SIZE:
        return this.#takeSizeByte(code);
      case Step.EXTENSION:
        if (code === CR) this.#step = Step.SIZE_LF;
        return this.#isLineByte(code);
      case Step.SIZE_LF:
        return code === LF && this.#endSizeLine();
      case Step.DATA_CR:
        this.#step = Step.DATA_LF;
        return code === CR;
      case Step.DATA_LF:
        this.#startSize();
        return code === LF;
      case Step.TRAILER:
        return this.#takeTrailerByte(code);
      default:
        return this.#endTrailerLine(code);
    }
  }

  #takeSizeByte(code: number): boolean {
    const digit = hexValue(code);
    if (digit >= 0) {
      this.#size = this.#size * 16 + digit;
      // 13 digits stay below 2^52, where numbers are exact.
      return ++this.#digits <= 13;
    }
    if (this.#digits === 0) return false;
    if (code === CR) this.#step = Step.SIZE_LF;
    else if (code === 59 || code === 32 || code === 9) this.#step = Step.EXTENSION;
    else return false;
    return true;
  }

  #isLineByte(code: number): boolean {
    return ++this.#lineBytes <= MAX_LINE_BYTES && code !== LF && code !== 0;
  }

  #startSize(): void {
    this.#step = Step.SIZE;
    this.#size = 0;
    this.#digits = 0;
  }

  #endSizeLine(): boolean {
    this.#step = this.#size === 0 ? Step.TRAILER : Step.DATA;
    this.#lineBytes = 0;
    this.#digits = 0;
    return true;
  }

  // `digits` counts the bytes of the trailer line here: an empty line ends the body.
  #takeTrailerByte(code: number): boolean {
    if (code === CR) this.#step = Step.LAST_LF;
    else this.#digits++;
    return this.#isLineByte(code);
  }

  #endTrailerLine(code: number): boolean {
    if (code !== LF) return false;
    this.#step = this.#digits === 0 ? Step.DONE : Step.TRAILER;
    this.#digits = 0;
    return true;
  }
}
