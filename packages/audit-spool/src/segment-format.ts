import { crc32 } from "node:zlib";

/**
 * A segment is "HMSAUD1\n", the writer's process id (4 bytes), then records: length (4 bytes), CRC-32 (4 bytes), that
 * many bytes. A record of length 0 whose CRC is all ones ends it. Numbers are big-endian.
 */
const MAGIC = Buffer.from("HMSAUD1\n");

/** Where a segment's first record begins. */
export const FIRST_RECORD: number = MAGIC.length + 4;

const HEAD_BYTES = 8;
const LARGEST_RECORD = 1024 * 1024;
const NO_CRC = 0xffffffff;

/** The head of a segment. */
export function segmentHead(pid: number): Buffer {
  const head = Buffer.alloc(FIRST_RECORD);
  MAGIC.copy(head);
  head.writeUInt32BE(pid, MAGIC.length);
  return head;
}

/** The process that writes a segment; undefined if these bytes are not the head of one. */
export function segmentPid(bytes: Buffer): number | undefined {
  if (bytes.length < FIRST_RECORD || bytes.compare(MAGIC, 0, MAGIC.length, 0, MAGIC.length) !== 0) return undefined;
  return bytes.readUInt32BE(MAGIC.length);
}

/** A record with its head. */
export function segmentRecord(event: Uint8Array): Buffer {
  const record = Buffer.allocUnsafe(HEAD_BYTES + event.length);
  record.writeUInt32BE(event.length, 0);
  record.writeUInt32BE(crc32(event), 4);
  record.set(event, HEAD_BYTES);
  return record;
}

/** What ends a segment that nothing more is written to. */
export function segmentEnd(): Buffer {
  const end = Buffer.alloc(HEAD_BYTES);
  end.writeUInt32BE(NO_CRC, 4);
  return end;
}

/** Records that follow each other, and what stands behind them. */
export interface ReadRecords {
  readonly events: Buffer[];
  /** Bytes of the records. */
  readonly bytes: number;
  /** "more": a record that is not whole, here or yet. */
  readonly rest: "nothing" | "more" | "end" | "damage";
}

/** Reads the records at the beginning of some bytes, `most` at most. */
export function readRecords(bytes: Buffer, most: number): ReadRecords {
  const events: Buffer[] = [];
  let at = 0;
  while (events.length < most) {
    const found = recordAt(bytes, at);
    if (typeof found === "string") return { events, bytes: at, rest: found };
    events.push(found);
    at += HEAD_BYTES + found.length;
  }
  return { events, bytes: at, rest: "nothing" };
}

function recordAt(bytes: Buffer, at: number): Buffer | ReadRecords["rest"] {
  if (at === bytes.length) return "nothing";
  if (at + HEAD_BYTES > bytes.length) return "more";
  const [length, crc] = [bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4)];
  if (length === 0 && crc === NO_CRC) return "end";
  if (length === 0) return isZero(bytes.subarray(at)) ? "more" : "damage";
  if (length > LARGEST_RECORD) return "damage";
  const event = bytes.subarray(at + HEAD_BYTES, at + HEAD_BYTES + length);
  if (event.length < length) return "more";
  return crc32(event) === crc ? event : "damage";
}

/** A machine that lost its power may leave zeros where nothing was written. */
function isZero(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}
