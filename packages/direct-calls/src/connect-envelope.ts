const HEADER_BYTES = 5;

/** One message of a Connect stream. */
export interface Envelope {
  readonly flags: number;
  readonly data: Buffer;
}

/** Writes a message of a Connect stream: flags, length, data (connectrpc.com, "Streaming RPCs"). */
export function writeEnvelope(data: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + data.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(data.length, 1);
  bytes.set(data, HEADER_BYTES);
  return bytes;
}

/** Cuts the body of a Connect stream into its messages. */
export class Envelopes {
  #rest: Buffer = Buffer.alloc(0);

  /** The messages that have come completely with this piece. */
  *push(chunk: Buffer): Generator<Envelope> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + this.#rest.readUInt32BE(1);
      if (this.#rest.length < end) return;
      const envelope = { flags: this.#rest[0] ?? 0, data: this.#rest.subarray(HEADER_BYTES, end) };
      this.#rest = this.#rest.subarray(end);
      yield envelope;
    }
  }
}
