/** Bytes before the data of a frame: length u32, stream u32 (both big-endian), type u8, flags u8. */
export const HEADER_BYTES = 10;

/** The most data one frame may carry, 4 MiB, as ttrpc sets it; the first byte of a frame is therefore always 0. */
export const MAX_DATA_BYTES = 4 << 20;

/** Above this a length cannot come from a peer that speaks frames at all: the first byte is not 0. */
export const MAX_PLAUSIBLE_BYTES = 0xff_ff_ff;

/** The last stream id a client can use; after it a new connection is needed. */
export const LAST_STREAM_ID = 0xff_ff_ff_ff;

/** Frame types: 1 to 3 are ttrpc 1.2, the rest is used between peers that have exchanged HELLO only. */
export const FrameType = {
  REQUEST: 0x01,
  RESPONSE: 0x02,
  DATA: 0x03,
  HELLO: 0x10,
  CANCEL: 0x11,
  WINDOW: 0x12,
  PING: 0x13,
  GOAWAY: 0x14,
  HEADERS: 0x15,
} as const;

/** Flags of Request and Data frames, and PING's answer mark. */
export const FrameFlag = {
  /** The sender sends no more data on this stream. */
  REMOTE_CLOSED: 0x01,
  /** Request only: more data follows on this stream. */
  REMOTE_OPEN: 0x02,
  /** Data only: there is no message in this frame, not even an empty one. */
  NO_DATA: 0x04,
  /** PING only: this is the answer. */
  PONG: 0x01,
} as const;

/** Reads a big-endian u32. */
export function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

/** Writes a big-endian u32. */
export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}
