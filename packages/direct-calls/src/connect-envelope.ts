import { HmsError } from "@hms/kernel";

const HEADER_BYTES = 5;

/** The largest message that is taken in JSON, bytes: whoever answers is not trusted with this process's memory. */
const MAX_MESSAGE_BYTES = 8 << 20;

/** @throws HmsError RESOURCE_EXHAUSTED if a message is larger than is taken */
export function checkMessageBytes(bytes: number): void {
  if (bytes <= MAX_MESSAGE_BYTES) return;
  const message = `The callee's message is larger than ${MAX_MESSAGE_BYTES} bytes. Let it answer in parts, or stream.`;
  throw new HmsError("RESOURCE_EXHAUSTED", message, { reason: "MESSAGE_TOO_LARGE" });
}

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
  #pieces: Buffer[] = [];
  #length = 0;
  /** Where the message ends that is coming. */
  #end = HEADER_BYTES;

  /** The messages that have come completely with this piece. @throws HmsError RESOURCE_EXHAUSTED if one is too large */
  *push(chunk: Buffer): Generator<Envelope> {
    this.#pieces.push(chunk);
    this.#length += chunk.length;
    // A message of many pieces is put together once.
    if (this.#length < this.#end) return;
    let rest = this.#pieces.length === 1 ? chunk : Buffer.concat(this.#pieces, this.#length);
    this.#end = HEADER_BYTES;
    while (rest.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + rest.readUInt32BE(1);
      checkMessageBytes(end - HEADER_BYTES);
      this.#end = end;
      if (rest.length < end) break;
      const envelope = { flags: rest[0] ?? 0, data: rest.subarray(HEADER_BYTES, end) };
      rest = rest.subarray(end);
      this.#end = HEADER_BYTES;
      yield envelope;
    }
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
  }
}
