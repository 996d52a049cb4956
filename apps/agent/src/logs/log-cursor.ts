import { type FileHandle, open } from "node:fs/promises";
import { logFileNumbers, logFilePath } from "./log-files.ts";
import { decodeRecord, type LogRecord } from "./log-record.ts";

/** A place in a log. */
export interface LogPosition {
  /** The number of the file; 0: the oldest there is. */
  file: number;
  /** Bytes from its beginning. */
  offset: number;
}

const BLOCK_BYTES = 64 * 1024;
const NEWLINE = 0x0a;

/** Reads a log forwards from a place, over rotated files; at the end it can go on once more was written. */
export class LogCursor implements AsyncDisposable {
  readonly #directory: string;
  #position: LogPosition;
  #handle: FileHandle | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #loaded: LogRecord[] = [];
  #next = 0;

  constructor(directory: string, position: LogPosition = { file: 0, offset: 0 }) {
    this.#directory = directory;
    this.#position = { ...position };
  }

  /** The record that take() will answer; undefined if load() has to be asked. */
  get head(): LogRecord | undefined {
    return this.#loaded[this.#next];
  }

  /** The next record; only after `head` or load() said there is one. */
  take(): LogRecord | undefined {
    return this.#loaded[this.#next++];
  }

  /** Makes sure there is a head; false at the end of what is stored now. */
  async load(): Promise<boolean> {
    while (this.head === undefined) {
      if (!(await this.#loadBlock())) return false;
    }
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async #loadBlock(): Promise<boolean> {
    const handle = await this.#open();
    if (!handle) return false;
    const block = Buffer.allocUnsafe(BLOCK_BYTES);
    let { bytesRead } = await handle.read(block, 0, BLOCK_BYTES, this.#position.offset);
    if (bytesRead === 0) {
      const newer = (await logFileNumbers(this.#directory)).find((number) => number > this.#position.file);
      if (newer === undefined) return false;
      // Written between our look at the end and the new file's beginning.
      ({ bytesRead } = await handle.read(block, 0, BLOCK_BYTES, this.#position.offset));
      if (bytesRead === 0) return this.#moveTo(newer);
    }
    this.#position.offset += bytesRead;
    this.#decode(block.subarray(0, bytesRead));
    return true;
  }

  async #moveTo(file: number): Promise<boolean> {
    await this[Symbol.asyncDispose]();
    this.#position = { file, offset: 0 };
    this.#rest = Buffer.alloc(0);
    return true;
  }

  async #open(): Promise<FileHandle | undefined> {
    if (this.#handle) return this.#handle;
    // Rotation may delete the file between the two steps; then the next older one that is left is where to go on.
    for (let attempt = 0; attempt < 5; attempt++) {
      const numbers = await logFileNumbers(this.#directory);
      const file = numbers.find((number) => number >= this.#position.file);
      if (file === undefined) return undefined;
      if (file !== this.#position.file) this.#position = { file, offset: 0 };
      this.#handle = await open(logFilePath(this.#directory, file), "r").catch(() => undefined);
      if (this.#handle) return this.#handle;
    }
    return undefined;
  }

  #decode(block: Buffer): void {
    const data = this.#rest.length === 0 ? block : Buffer.concat([this.#rest, block]);
    const records: LogRecord[] = [];
    let from = 0;
    for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE, from)) {
      const record = decodeRecord(data.subarray(from, end));
      if (record) records.push(record);
      from = end + 1;
    }
    this.#rest = data.subarray(from);
    this.#loaded = records;
    this.#next = 0;
  }
}
