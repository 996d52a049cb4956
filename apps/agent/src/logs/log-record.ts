import { agent } from "@hms/contracts";

/** One stored line. Its text is bytes: programs write what they like. */
export interface LogRecord {
  timeMs: number;
  stream: agent.LogStream;
  text: Buffer;
  /** True if the line goes on in the next record of the same stream. */
  continues: boolean;
}

const { LogStream } = agent;
const LETTERS = new Map<agent.LogStream, string>([
  [LogStream.STDOUT, "o"],
  [LogStream.STDERR, "e"],
  [LogStream.SYSTEM, "s"],
]);
const STREAMS = new Map([...LETTERS].map(([stream, letter]) => [letter, stream]));
const NEWLINE = Buffer.from("\n");
const SPACE = 0x20;
const TIME_DIGITS = 13;
/** "1732134000123 o " before the text. */
const HEAD_BYTES = TIME_DIGITS + 3;

/** Writes records as lines: milliseconds, a letter for the stream (a capital if the line goes on), the text. */
export function encodeRecords(records: readonly LogRecord[]): Buffer {
  return Buffer.concat(
    records.flatMap(({ timeMs, stream, text, continues }) => {
      const letter = LETTERS.get(stream) ?? "s";
      const head = `${String(timeMs).padStart(TIME_DIGITS, "0")} ${continues ? letter.toUpperCase() : letter} `;
      return [Buffer.from(head, "latin1"), text, NEWLINE];
    }),
  );
}

/** Reads one stored line without its newline; undefined if it was cut by a crash or is none of ours. */
export function decodeRecord(line: Buffer): LogRecord | undefined {
  if (line.length < HEAD_BYTES || line[TIME_DIGITS] !== SPACE || line[TIME_DIGITS + 2] !== SPACE) return undefined;
  const timeMs = Number(line.toString("latin1", 0, TIME_DIGITS));
  const letter = line.toString("latin1", TIME_DIGITS + 1, TIME_DIGITS + 2);
  const stream = STREAMS.get(letter.toLowerCase());
  if (stream === undefined || !Number.isSafeInteger(timeMs)) return undefined;
  return { timeMs, stream, text: line.subarray(HEAD_BYTES), continues: letter !== letter.toLowerCase() };
}
