import { closeSync, constants, fsyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { syncFolder } from "./whole-file.ts";

/** Records that are only ever added to, in a file of its owner (0600). */
export interface RecordFile extends Disposable {
  readonly file: string;
  /** What it held when it was opened, in order. */
  readonly found: readonly unknown[];
  /** Adds a record as JSON; it is on disk when this returns. Raises Node's error if it cannot be: nothing is added then. */
  append(record: object): void;
}

/** A line is the CRC-32 of what follows the blank, the number of the record, and the record. */
function lineOf(number: number, record: object): string {
  const body = `${number} ${JSON.stringify(record)}`;
  return `${crc32(body).toString(16).padStart(8, "0")} ${body}\n`;
}

const LINE = /^([0-9a-f]{8}) (([0-9]+) (\{.*\}))$/s;

function recordOf(line: string, number: number): unknown {
  const [, sum = "", body = "", own = "", json = ""] = LINE.exec(line) ?? [];
  if (body === "" || Number(own) !== number || Number.parseInt(sum, 16) !== crc32(body)) return undefined;
  return JSON.parse(json);
}

/** The records at the beginning of a file that are whole, and how many bytes they take. */
function readRecords(bytes: Buffer): { records: unknown[]; length: number } {
  const records: unknown[] = [];
  let length = 0;
  for (;;) {
    const end = bytes.indexOf(0x0a, length);
    const record = end === -1 ? undefined : recordOf(bytes.toString("utf8", length, end), records.length + 1);
    if (record === undefined) return { records, length };
    records.push(record);
    length = end + 1;
  }
}

/**
 * Opens a file of records, made if there is none. What follows the last whole record, as a process or a machine leaves it
 * that ends in the middle of writing, is cut off: it was never said to be written.
 */
export function openRecordFile(file: string): RecordFile {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const handle = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600);
  const { records, length: whole } = readRecords(readFileSync(handle));
  ftruncateSync(handle, whole);
  fsyncSync(handle);
  syncFolder(dirname(file));
  let length = whole;
  let count = records.length;
  let isClosed = false;
  return {
    file,
    found: records,
    append(record) {
      // The number of a closed file may be another file's by now.
      if (isClosed) throw new Error(`${file} has been closed`);
      const bytes = Buffer.from(lineOf(count + 1, record));
      try {
        for (let at = 0; at < bytes.length; ) at += writeSync(handle, bytes, at, bytes.length - at, length + at);
        fsyncSync(handle);
      } catch (error) {
        // A half of it must not stand before what is added next.
        ftruncateSync(handle, length);
        throw error;
      }
      length += bytes.length;
      count += 1;
    },
    [Symbol.dispose]() {
      if (!isClosed) closeSync(handle);
      isClosed = true;
    },
  };
}
