import { FieldReader, MalformedError, varintBytes, writeVarint } from "./field-reader.ts";
import { FrameType } from "./frame.ts";
import type { Frame } from "./frame-reader.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { MAX_METADATA_BYTES, readPair } from "./metadata-fields.ts";

const SERVICE_TAG = 0x0a;
const METHOD_TAG = 0x12;
const PAYLOAD_TAG = 0x1a;
const TIMEOUT_TAG = 0x20;
/** Request.codec, field 16. */
const CODEC_TAG = [0x80, 0x01] as const;
const NOTHING = Buffer.alloc(0);
/** A larger number comes from a negative int64: the deadline has passed already. */
const LARGEST_INT64 = 2 ** 63;

/** The head of every request to one method: service, method name and codec, encoded once. */
export function requestPrefix(service: string, method: string, codec = 0): Buffer {
  const s = Buffer.byteLength(service);
  const m = Buffer.byteLength(method);
  const codecBytes = codec === 0 ? 0 : CODEC_TAG.length + 1;
  const bytes = Buffer.allocUnsafe(1 + varintBytes(s) + s + 1 + varintBytes(m) + m + codecBytes);
  bytes[0] = SERVICE_TAG;
  let at = writeVarint(bytes, 1, s);
  at += bytes.write(service, at);
  bytes[at] = METHOD_TAG;
  at = writeVarint(bytes, at + 1, m);
  at += bytes.write(method, at);
  if (codecBytes > 0) bytes.set([...CODEC_TAG, codec], at);
  return bytes;
}

/** A request about to be written. */
export interface OutgoingRequest {
  readonly stream: number;
  readonly flags: number;
  /** Encoded service, method and whatever else is the same for every call. */
  readonly prefix: Uint8Array;
  /** Encoded metadata of this call. */
  readonly metadata: Uint8Array | undefined;
  /** Milliseconds left; undefined: no deadline. */
  readonly timeoutMs: number | undefined;
  readonly payload: Uint8Array;
}

/** Writes a Request frame; the message comes last, so that a large one is not copied. */
export function writeRequest(writer: FrameWriter, request: OutgoingRequest): void {
  const { prefix, metadata = NOTHING, timeoutMs, payload } = request;
  const nanos = timeoutMs === undefined ? 0 : Math.max(1, Math.round(timeoutMs * 1e6));
  const timeoutBytes = nanos === 0 ? 0 : 1 + varintBytes(nanos);
  const payloadBytes = payload.length === 0 ? 0 : 1 + varintBytes(payload.length);
  const headBytes = prefix.length + metadata.length + timeoutBytes + payloadBytes;
  let at = writer.begin(request.stream, (FrameType.REQUEST << 8) | request.flags, headBytes);
  const { block } = writer;
  block.set(prefix, at);
  at += prefix.length;
  if (metadata.length > 0) block.set(metadata, at);
  at += metadata.length;
  if (nanos > 0) {
    block[at] = TIMEOUT_TAG;
    at = writeVarint(block, at + 1, nanos);
  }
  if (payloadBytes > 0) {
    block[at] = PAYLOAD_TAG;
    writeVarint(block, at + 1, payload.length);
  }
  writer.finish(payload);
}

function isSame(known: Buffer, bytes: Buffer, { from, to }: FieldReader): boolean {
  return known.length === to - from && known.compare(bytes, from, to) === 0;
}

/**
 * A request as it lies in its frame: positions, so that nothing is decoded that nobody asks for. One object is used
 * for all requests of a connection and is valid until the next `read`.
 */
export class RequestEnvelope {
  bytes: Buffer = NOTHING;
  serviceFrom = 0;
  serviceTo = 0;
  methodFrom = 0;
  methodTo = 0;
  payloadFrom = 0;
  payloadTo = 0;
  /** From the tag of the first metadata entry to the end of the last; equal if there is none. */
  metadataFrom = 0;
  metadataTo = 0;
  /** Relative deadline in milliseconds; undefined: none. */
  timeoutMs: number | undefined;
  /** How the messages of the call are encoded. */
  codec = 0;
  /** How many entries the last reading of the metadata left out. */
  knownEntries = 0;
  #metadataBytes = 0;
  readonly #fields = new FieldReader();

  /** Finds the parts of a request. @throws MalformedError */
  read(frame: Frame): void {
    this.bytes = frame.bytes;
    this.serviceFrom = this.serviceTo = this.methodFrom = this.methodTo = frame.start;
    this.payloadFrom = this.payloadTo = this.metadataFrom = this.metadataTo = frame.start;
    this.timeoutMs = undefined;
    this.codec = 0;
    this.#metadataBytes = 0;
    const fields = this.#fields.reset(frame.bytes, frame.start, frame.end);
    while (fields.next()) this.#field(fields);
    if (this.#metadataBytes > MAX_METADATA_BYTES) {
      throw new MalformedError(`the metadata is larger than ${MAX_METADATA_BYTES} bytes`);
    }
    fields.release();
  }

  #field(fields: FieldReader): void {
    switch (fields.field) {
      case 1:
        this.serviceFrom = fields.from;
        this.serviceTo = fields.to;
        break;
      case 2:
        this.methodFrom = fields.from;
        this.methodTo = fields.to;
        break;
      case 3:
        this.payloadFrom = fields.from;
        this.payloadTo = fields.to;
        break;
      case 4:
        this.timeoutMs = fields.value >= LARGEST_INT64 ? 0 : fields.value / 1e6;
        if (fields.value === 0) this.timeoutMs = undefined;
        break;
      case 5:
        if (this.metadataFrom === this.metadataTo) this.metadataFrom = fields.tagAt;
        this.metadataTo = fields.to;
        this.#metadataBytes += fields.to - fields.tagAt;
        break;
      case 16:
        this.codec = fields.value;
        break;
      default:
        break;
    }
  }

  /** Lets go of the frame. */
  release(): void {
    this.bytes = NOTHING;
  }

  /** True if service and method lie side by side, as every encoder writes them. */
  get contiguous(): boolean {
    return this.methodFrom > this.serviceTo && this.methodFrom - this.serviceTo <= 3;
  }

  /**
   * Decodes the metadata, an object without prototype; entries with the bytes `known` are left out, and counted.
   * @throws MalformedError
   */
  metadata(known?: Buffer): Record<string, string> {
    const found: Record<string, string> = Object.create(null);
    this.knownEntries = 0;
    const fields = this.#fields.reset(this.bytes, this.metadataFrom, this.metadataTo);
    while (fields.next()) {
      if (fields.field !== 5) continue;
      if (known !== undefined && isSame(known, this.bytes, fields)) this.knownEntries += 1;
      else readPair(this.bytes, fields, found);
    }
    fields.release();
    return found;
  }

  /** The first metadata entry of a name, as its bytes; undefined if there is none. @throws MalformedError */
  entryNamed(name: string): Buffer | undefined {
    let entry: Buffer | undefined;
    const fields = this.#fields.reset(this.bytes, this.metadataFrom, this.metadataTo);
    while (entry === undefined && fields.next()) {
      if (fields.field !== 5) continue;
      const pair: Record<string, string> = {};
      readPair(this.bytes, fields, pair);
      if (pair[name] !== undefined) entry = Buffer.from(this.bytes.subarray(fields.from, fields.to));
    }
    fields.release();
    return entry;
  }
}
