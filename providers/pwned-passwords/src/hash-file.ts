import { type FileHandle, open } from "node:fs/promises";
import { unreadable, unusable } from "./list-error.ts";

const LINE = /^([0-9A-F]{40}):(\d{1,12})$/i;
const LONGEST_LINE = "\r\n".length + 40 + ":".length + 12;
/** About ninety lines: a search of 40 GB reads two dozen of these. */
const BLOCK = 4096;
const SAMPLES = 64;
const REMEDY =
  "It takes the SHA-1 download ordered by hash, lines HASH:COUNT, as haveibeenpwned-downloader writes it; fetch it again.";

interface Line {
  /** Where it begins and where the next one does, in bytes. */
  readonly start: number;
  readonly end: number;
  /** In capitals. */
  readonly hash: string;
  readonly count: number;
}

/** What a search knows so far: the line begins from `low` on and before `high`. */
interface Bounds {
  low: number;
  high: number;
  lowHash: string;
  highHash: string;
}

/** One file with all hashes in their order, of any size; a few kilobytes of it are in memory at a time. */
export class HashFile implements AsyncDisposable {
  readonly #path: string;
  readonly #file: FileHandle;
  /** In bytes. */
  readonly size: number;

  private constructor(path: string, file: FileHandle, size: number) {
    this.#path = path;
    this.#file = file;
    this.size = size;
  }

  /** Opens one. @throws HmsError FAILED_PRECONDITION if it cannot be read or is empty. */
  static async open(path: string): Promise<HashFile> {
    try {
      const file = await open(path, "r");
      const { size } = await file.stat();
      if (size > 0) return new HashFile(path, file, size);
      await file.close();
    } catch (error) {
      throw unreadable(path, error, REMEDY);
    }
    throw unusable(path, "it is empty", REMEDY);
  }

  /**
   * How often a SHA-1, in capitals, was seen in leaks; 0 if it is not there.
   * @throws HmsError FAILED_PRECONDITION if what is read on the way is no such list, or not in order.
   */
  async countOf(hash: string): Promise<number> {
    const bounds: Bounds = { low: 0, high: this.size, lowHash: "", highHash: "G" };
    while (bounds.high - bounds.low > BLOCK) {
      const middle = bounds.low + Math.floor((bounds.high - bounds.low) / 2);
      const lines = await this.#linesWithin(bounds, middle, true);
      const [first, last] = [lines[0], lines.at(-1)];
      if (first === undefined || last === undefined) throw this.#malformed(middle);
      if (hash < first.hash) Object.assign(bounds, { high: first.start, highHash: first.hash });
      else if (hash > last.hash) Object.assign(bounds, { low: last.end, lowHash: last.hash });
      else return countIn(lines, hash);
    }
    return countIn(await this.#linesWithin(bounds, bounds.low), hash);
  }

  /** Looks at 64 places of it. @throws HmsError FAILED_PRECONDITION if one is no such list, or not in order. */
  async check(): Promise<void> {
    const bounds: Bounds = { low: 0, high: this.size, lowHash: "", highHash: "G" };
    let at = 0;
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      at = Math.floor((sample * this.size) / SAMPLES);
      const [first] = await this.#linesWithin(bounds, at, at > 0);
      // Of a small file a sample shows again what the one before has shown.
      bounds.lowHash = first?.hash ?? bounds.lowHash;
    }
    at = Math.max(at, this.size - 2 * LONGEST_LINE);
    await this.#linesWithin(bounds, at, at > 0);
  }

  /** The lines of one block that begin before `bounds.high`, in order. */
  async #linesWithin(bounds: Bounds, position: number, isInside = false): Promise<Line[]> {
    const lines = (await this.#linesFrom(position, isInside)).filter(({ start }) => start < bounds.high);
    this.#assertOrder(lines, bounds);
    return lines;
  }

  /** The whole lines of one block; `isInside`: without the one that the position may be in the middle of. */
  async #linesFrom(position: number, isInside: boolean): Promise<Line[]> {
    const text = await this.#read(position, BLOCK + LONGEST_LINE);
    const isEnd = position + text.length >= this.size;
    let at = isInside ? text.indexOf("\n") + 1 : 0;
    if (isInside && at === 0) at = text.length;
    if (at > LONGEST_LINE) throw this.#malformed(position);
    const lines: Line[] = [];
    while (at < text.length) {
      const newline = text.indexOf("\n", at);
      if (newline === -1 && !isEnd && text.length - at < LONGEST_LINE) break;
      const end = newline === -1 ? text.length : newline + 1;
      const [, hash, count] = LINE.exec(text.slice(at, end).trimEnd()) ?? [];
      if (hash === undefined) throw this.#malformed(position + at);
      lines.push({ start: position + at, end: position + end, hash: hash.toUpperCase(), count: Number(count) });
      at = end;
    }
    return lines;
  }

  async #read(position: number, length: number): Promise<string> {
    const bytes = Buffer.alloc(Math.min(length, this.size - position));
    let filled = 0;
    try {
      while (filled < bytes.length) {
        const { bytesRead } = await this.#file.read(bytes, filled, bytes.length - filled, position + filled);
        if (bytesRead === 0) throw unusable(this.#path, "it has become shorter while it was read", REMEDY);
        filled += bytesRead;
      }
    } catch (error) {
      throw unreadable(this.#path, error, REMEDY);
    }
    return bytes.toString("latin1");
  }

  #assertOrder(lines: readonly Line[], { lowHash, highHash }: Bounds): void {
    let before = lowHash;
    for (const { hash, start } of lines) {
      if (hash < before || hash > highHash) {
        throw unusable(this.#path, `it is not in the order of its hashes at byte ${start}`, REMEDY);
      }
      before = hash;
    }
  }

  #malformed(position: number) {
    return unusable(this.#path, `at byte ${position} there is no line of a SHA-1 and a number`, REMEDY);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#file.close();
  }
}

const countIn = (lines: readonly Line[], hash: string) => lines.find((line) => line.hash === hash)?.count ?? 0;
