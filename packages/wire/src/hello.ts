import { FieldReader, varintBytes, writeVarint } from "./field-reader.ts";
import { FrameType } from "./frame.ts";
import type { Frame } from "./frame-reader.ts";
import type { FrameWriter } from "./frame-writer.ts";

/** What a peer can do beyond ttrpc 1.2; an extension is used if both sides announce it. */
export const Feature = { CANCEL: 1, WINDOW: 2, PING: 4, GOAWAY: 8, JSON: 16, HEADERS: 32 } as const;

/** Version of the extensions. */
const PROTOCOL_VERSION = 1;

/** How much of one stream's messages may be on the way before the reader has taken them. */
export const STREAM_WINDOW_BYTES = 256 * 1024;

/** What a peer says of itself when a connection begins. */
export interface Hello {
  version: number;
  /** Bits of `Feature`. */
  features: number;
  /** Bytes it takes on a stream before it grants more; 0: 256 KiB. */
  streamWindow: number;
  /** Streams it serves at once on one connection; 0 from a client, which serves none. */
  maxStreams: number;
}

/** What this implementation says. */
export function ourHello(maxStreams: number): Hello {
  return {
    version: PROTOCOL_VERSION,
    features: Feature.CANCEL | Feature.WINDOW | Feature.PING | Feature.GOAWAY | Feature.JSON | Feature.HEADERS,
    streamWindow: STREAM_WINDOW_BYTES,
    maxStreams,
  };
}

const TAGS = { version: 0x08, features: 0x10, streamWindow: 0x18, maxStreams: 0x20 } as const;
const NAMES = Object.keys(TAGS) as (keyof Hello)[];

/** Writes a HELLO frame. */
export function writeHello(writer: FrameWriter, stream: number, hello: Hello): void {
  const bytes = NAMES.reduce((sum, name) => sum + 1 + varintBytes(hello[name]), 0);
  let at = writer.begin(stream, FrameType.HELLO << 8, bytes);
  for (const name of NAMES) {
    writer.block[at] = TAGS[name];
    at = writeVarint(writer.block, at + 1, hello[name]);
  }
  writer.finish(NOTHING);
}

const NOTHING = new Uint8Array(0);

/** Reads a HELLO; fields that are missing have their defaults, unknown ones are skipped. @throws if malformed */
export function readHello(frame: Frame): Hello {
  const hello: Hello = { version: 1, features: 0, streamWindow: 0, maxStreams: 0 };
  const fields = new FieldReader().reset(frame.bytes, frame.start, frame.end);
  while (fields.next()) {
    const name = NAMES[fields.field - 1];
    if (name !== undefined) hello[name] = fields.value;
  }
  return hello;
}
