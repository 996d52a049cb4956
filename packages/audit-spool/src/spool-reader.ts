import { closeSync, openSync, readSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { readSpoolId, type SegmentFile, segmentFiles } from "./segment-files.ts";
import { FIRST_RECORD, readRecords, segmentPid } from "./segment-format.ts";

/** Up to where a spool was read. */
export interface SpoolPosition {
  readonly spoolId: string;
  readonly segment: number;
  /** Bytes; 0: at its beginning. */
  readonly offset: number;
}

/** Events that follow each other in a spool. */
export interface SpoolBatch {
  /** Without their place in a chain, as they were recorded. */
  readonly events: readonly Uint8Array[];
  /** Where the batch begins, and where the next one does. */
  readonly position: SpoolPosition;
  readonly next: SpoolPosition;
  /** Something between the two cannot be read. */
  readonly damage?: { readonly segment: number; readonly offset: number; readonly bytes: number };
}

/** More than the largest record. */
const MOST_BYTES = 2 * 1024 * 1024;
/** A segment that has no end is left behind if its writer has gone, or wrote nothing for the longer time. */
const GONE_MS = 1000;
const SILENT_MS = 60_000;

/** Reads a spool from where others, also of other processes, append to it; removes what was read for good. */
export class SpoolReader {
  readonly #directory: string;
  readonly #most: number;

  /** @param most events of a batch; it has 2 MiB at most besides */
  constructor(directory: string, most = 5000) {
    this.#directory = directory;
    this.#most = most;
  }

  /** The spool's own id; undefined: nobody has opened it yet. */
  get spoolId(): string | undefined {
    return readSpoolId(this.#directory);
  }

  /** The next events behind a position; undefined: there are none now. A position in another spool is none. */
  read(after: SpoolPosition | undefined): SpoolBatch | undefined {
    const spoolId = readSpoolId(this.#directory);
    if (spoolId === undefined) return undefined;
    const files = segmentFiles(this.#directory);
    const isOurs = after?.spoolId === spoolId;
    const start = isOurs ? after : { spoolId, segment: files[0]?.number ?? 1, offset: 0 };
    let at = start;
    for (const [index, file] of files.entries()) {
      if (file.number < at.segment) continue;
      if (file.number > at.segment) at = { spoolId, segment: file.number, offset: 0 };
      const found = this.#readSegment(file, at, files.length > index + 1);
      if (found === undefined) return undefined;
      if (found.events.length > 0 || found.damage) return { ...found, position: start };
      at = found.next;
    }
    return undefined;
  }

  /** Removes what a batch has read to the end, once it is kept elsewhere; a damaged segment is put aside, as `*.damaged`. */
  async remove({ next, damage }: Pick<SpoolBatch, "next" | "damage">): Promise<void> {
    if (readSpoolId(this.#directory) !== next.spoolId) return;
    for (const { number, path } of segmentFiles(this.#directory)) {
      if (number >= next.segment) continue;
      // Not at once: a file system takes milliseconds to give megabytes back.
      if (number === damage?.segment) await rename(path, `${path}.damaged`);
      else await rm(path, { force: true });
    }
  }

  /** Bytes behind a position. */
  waitingBytes(after: SpoolPosition | undefined): number {
    const isOurs = after !== undefined && after.spoolId === readSpoolId(this.#directory);
    const [segment, offset] = isOurs ? [after.segment, after.offset] : [0, 0];
    return segmentFiles(this.#directory)
      .filter(({ number }) => number >= segment)
      .reduce((sum, { number, bytes }) => sum + Math.max(0, bytes - (number === segment ? offset : FIRST_RECORD)), 0);
  }

  /** Events of one segment; without any `next` is behind it. Undefined: the writer is not done with it. */
  #readSegment(file: SegmentFile, at: SpoolPosition, hasSuccessor: boolean): Omit<SpoolBatch, "position"> | undefined {
    const { bytes, pid } = readBytes(file.path, at.offset);
    const offset = Math.max(at.offset, FIRST_RECORD);
    const records = pid === undefined ? undefined : readRecords(bytes, this.#most);
    if (records !== undefined && records.events.length > 0) {
      return { events: records.events, next: { ...at, offset: offset + records.bytes } };
    }
    const behind = { ...at, segment: file.number + 1, offset: 0 };
    if (records?.rest === "end") return { events: [], next: behind };
    if (!hasSuccessor || !isAbandoned(file, pid)) return undefined;
    // A writer that was killed leaves half a record, or half a head; whatever else stands here was changed.
    const isDamaged = records === undefined ? file.bytes >= FIRST_RECORD : records.rest === "damage";
    const damage = { segment: file.number, offset, bytes: Math.max(0, file.bytes - offset) };
    return { events: [], next: behind, ...(isDamaged ? { damage } : {}) };
  }
}

function isAbandoned({ changedAt }: SegmentFile, pid: number | undefined): boolean {
  const silentMs = Date.now() - changedAt;
  return silentMs > SILENT_MS || (silentMs > GONE_MS && (pid === undefined || !lives(pid)));
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** The records of a segment from an offset on, as many bytes as are taken at once, and who writes it. */
function readBytes(path: string, offset: number): { bytes: Buffer; pid: number | undefined } {
  const handle = openSync(path, "r");
  try {
    const head = Buffer.alloc(FIRST_RECORD);
    const pid = segmentPid(head.subarray(0, readSync(handle, head, 0, head.length, 0)));
    const bytes = Buffer.allocUnsafe(MOST_BYTES);
    const length = readSync(handle, bytes, 0, bytes.length, Math.max(offset, FIRST_RECORD));
    return { bytes: bytes.subarray(0, length), pid };
  } finally {
    closeSync(handle);
  }
}
