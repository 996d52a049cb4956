import { closeSync, fdatasync, fsyncSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { ensureSpoolFolder, segmentFiles, segmentPath } from "./segment-files.ts";
import { segmentEnd, segmentHead, segmentRecord } from "./segment-format.ts";

interface OpenSegment {
  readonly handle: number;
  bytes: number;
}

/** What is being forced to disk, and what goes next. */
interface Round {
  readonly syncing: Promise<void>;
  next: Promise<void> | undefined;
}

/** Writes the segments of one spool; each opening begins a new one, so that nobody goes on where somebody else may write. */
export class SegmentWriter {
  /** Bytes of all segments, as last measured and written since. */
  size = 0;
  readonly #directory: string;
  readonly #segmentBytes: number;
  #measuredAt = 0;
  #file: OpenSegment | undefined;
  #nextNumber: number;
  /** Nothing was written since the last round began. */
  #clean = true;
  #round: Round | undefined;

  constructor(directory: string, segmentBytes: number) {
    this.#directory = directory;
    this.#segmentBytes = segmentBytes;
    ensureSpoolFolder(directory);
    this.#nextNumber = (segmentFiles(directory).at(-1)?.number ?? 0) + 1;
    this.measure(0);
  }

  /** Bytes of all segments; looked at again if that is longer ago than `ageMs`. */
  measure(ageMs: number): number {
    if (Date.now() - this.#measuredAt > ageMs) {
      this.#measuredAt = Date.now();
      this.size = segmentFiles(this.#directory).reduce((sum, { bytes }) => sum + bytes, 0);
    }
    return this.size;
  }

  /** @throws Error of the system if it cannot be written; then nothing of it was. */
  write(event: Uint8Array): void {
    const file = this.#current();
    this.#append(file, segmentRecord(event));
  }

  /** Resolves when everything written so far is on disk; undefined: it is. */
  synced(): Promise<void> | undefined {
    const { handle } = this.#file ?? {};
    if (handle === undefined || this.#clean) return this.#round?.syncing;
    if (this.#round === undefined) return this.#sync(handle).syncing;
    // What is under way may not cover what was written since: it goes with the next round, together with others.
    const round = this.#round;
    round.next ??= round.syncing.catch(() => {}).then(() => this.#sync(this.#file?.handle ?? handle).syncing);
    return round.next;
  }

  /** Forces everything written so far to disk, and waits for it. */
  syncNow(): void {
    if (this.#file !== undefined) fsyncSync(this.#file.handle);
  }

  #sync(handle: number): Round {
    this.#clean = true;
    const { promise: syncing, resolve, reject } = Promise.withResolvers<void>();
    const round: Round = { syncing, next: undefined };
    this.#round = round;
    fdatasync(handle, (error) => {
      if (this.#round === round) this.#round = undefined;
      if (!error) return resolve();
      this.#clean = false;
      reject(error);
    });
    return round;
  }

  #append(file: OpenSegment, bytes: Buffer): void {
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(file.handle, bytes, written);
    } catch (error) {
      if (written > 0) ftruncateSync(file.handle, file.bytes);
      throw error;
    }
    file.bytes += bytes.length;
    this.size += bytes.length;
    this.#clean = false;
  }

  #current(): OpenSegment {
    if (this.#file !== undefined && this.#file.bytes >= this.#segmentBytes) this.#end();
    this.#file ??= this.#begin();
    return this.#file;
  }

  #begin(): OpenSegment {
    const number = this.#nextNumber;
    const handle = openSync(segmentPath(this.#directory, number), "ax", 0o600);
    const file = { handle, bytes: 0 };
    this.#nextNumber += 1;
    try {
      this.#append(file, segmentHead(process.pid));
      const folder = openSync(this.#directory, "r");
      fsyncSync(folder);
      closeSync(folder);
    } catch (error) {
      closeSync(handle);
      throw error;
    }
    return file;
  }

  /** Ends a segment: all of it is on disk before the next one begins. */
  #end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#append(file, segmentEnd());
    fsyncSync(file.handle);
    // A round that is under way still has the handle.
    const close = () => closeSync(file.handle);
    if (this.#round) this.#round.syncing.then(close, close);
    else close();
    this.#file = undefined;
    this.#clean = true;
  }

  async close(): Promise<void> {
    await this.synced()?.catch(() => {});
    try {
      this.#end();
    } catch {
      // On a full disk the segment has no end; whoever empties the spool sees that its writer has gone.
    }
    await this.#round?.syncing.catch(() => {});
  }
}
