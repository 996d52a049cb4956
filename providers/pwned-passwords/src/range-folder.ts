import { open } from "node:fs/promises";
import { unreadable, unusable } from "./list-error.ts";

const LINE = /^([0-9A-F]{35}):(\d{1,12})$/i;
/** Ranges have about 80 kB. */
const LARGEST = 8 * 1024 * 1024;
const RANGES = 0x10_0000;
const SAMPLES = 64;
const REMEDY =
  "It takes a folder of all 1,048,576 ranges, 00000.txt to FFFFF.txt, lines SUFFIX:COUNT, as haveibeenpwned-downloader -s false writes it; fetch it again.";

/** A folder with a file for each first five digits of a SHA-1. */
export class RangeFolder {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * How often a SHA-1, in capitals, was seen in leaks; 0 if it is not there.
   * @throws HmsError FAILED_PRECONDITION if the range is missing or is none.
   */
  async countOf(hash: string): Promise<number> {
    const suffix = hash.slice(5);
    const lines = await this.#range(hash.slice(0, 5));
    return lines.find((line) => line.suffix === suffix)?.count ?? 0;
  }

  /** Looks at 64 ranges, among them the first and the last. @throws HmsError FAILED_PRECONDITION as `countOf`. */
  async check(): Promise<void> {
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const range = Math.floor((sample * (RANGES - 1)) / (SAMPLES - 1));
      await this.#range(range.toString(16).toUpperCase().padStart(5, "0"));
    }
  }

  async #range(prefix: string): Promise<{ suffix: string; count: number }[]> {
    const path = `${this.#path}/${prefix}.txt`;
    const text = await this.#read(path);
    const lines = text.split(/\r?\n/);
    if (lines.at(-1) === "") lines.pop();
    if (lines.length === 0) throw unusable(path, "it is empty", REMEDY);
    return lines.map((line, index) => {
      const [, suffix, count] = LINE.exec(line) ?? [];
      if (suffix !== undefined) return { suffix: suffix.toUpperCase(), count: Number(count) };
      throw unusable(path, `line ${index + 1} is not the rest of a SHA-1 and a number`, REMEDY);
    });
  }

  async #read(path: string): Promise<string> {
    try {
      await using file = await open(path, "r");
      if ((await file.stat()).size > LARGEST) throw unusable(path, `it is larger than ${LARGEST} bytes`, REMEDY);
      return await file.readFile("latin1");
    } catch (error) {
      throw unreadable(path, error, REMEDY);
    }
  }
}
