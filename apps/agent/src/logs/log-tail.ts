import { type FileHandle, open } from "node:fs/promises";
import type { LogPosition } from "./log-cursor.ts";
import { logFileNumbers, logFilePath } from "./log-files.ts";
import { decodeRecord, type LogRecord } from "./log-record.ts";

/** Where a record begins, and when it was written. */
export interface LogMark extends LogPosition {
  timeMs: number;
}

const BLOCK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/** Finds the last `count` records that match, newest first, without holding their texts. */
export async function findLast(
  directory: string,
  count: number,
  matches: (record: LogRecord) => boolean | "stop",
): Promise<LogMark[]> {
  const marks: LogMark[] = [];
  for (const file of (await logFileNumbers(directory)).reverse()) {
    const handle = await open(logFilePath(directory, file), "r").catch(() => undefined);
    // Rotated away meanwhile: what is older is gone too.
    if (!handle) break;
    try {
      const goOn = await scanBackwards(handle, (line, offset) => {
        const record = decodeRecord(line);
        const verdict = record !== undefined && matches(record);
        if (record && verdict === true) marks.push({ file, offset, timeMs: record.timeMs });
        return verdict !== "stop" && marks.length < count;
      });
      if (!goOn) break;
    } finally {
      await handle.close();
    }
  }
  return marks;
}

/** Visits the lines of a file from its end; false if the visitor stopped. */
async function scanBackwards(handle: FileHandle, visit: (line: Buffer, offset: number) => boolean): Promise<boolean> {
  let { size: start } = await handle.stat();
  let rest = Buffer.alloc(0);
  let unfinished = true;
  while (start > 0) {
    const length = Math.min(BLOCK_BYTES, start);
    start -= length;
    const block = Buffer.allocUnsafe(length);
    await handle.read(block, 0, length, start);
    const data = Buffer.concat([block, rest]);
    let end = data.length;
    for (let at = data.lastIndexOf(NEWLINE); at >= 0; at = at === 0 ? -1 : data.lastIndexOf(NEWLINE, at - 1)) {
      // What follows the last newline is still being written.
      if (!unfinished && !visit(data.subarray(at + 1, end), start + at + 1)) return false;
      unfinished = false;
      end = at;
    }
    rest = data.subarray(0, end);
  }
  return unfinished || visit(rest, 0);
}
