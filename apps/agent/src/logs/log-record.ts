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
const NEWLINE = 0x0a;
const SPACE = 0x20;
const TIME_DIGITS = 13;
/** "1732134000123 o " before the text. */
const HEAD_BYTES = TIME_DIGITS + 3;

/** Records as they are stored. */
export interface EncodedRecords {
  data: Buffer;
  lines: number;
  /** Bytes of text. */
  bytes: number;
  /** Gives the memory back; call it when the data has been written. */
  release(): void;
}

/** Holds what one read of 64 KiB usually becomes. */
const POOLED_BYTES = 192 * 1024;
const POOL_SIZE = 4;
const pool: Buffer[] = [];

/** Writes records as lines: milliseconds, a letter for the stream (a capital if the line goes on), the text. */
export function encodeRecords(records: readonly LogRecord[]): EncodedRecords {
  const bytes = records.reduce((sum, { text }) => sum + text.length, 0);
  const total = bytes + records.length * (HEAD_BYTES + 1);
  const memory =
    total > POOLED_BYTES ? Buffer.allocUnsafeSlow(total) : (pool.pop() ?? Buffer.allocUnsafeSlow(POOLED_BYTES));
  let at = 0;
  for (const { timeMs, stream, text, continues } of records) {
    const letter = LETTERS.get(stream) ?? "s";
    const head = `${String(timeMs).padStart(TIME_DIGITS, "0")} ${continues ? letter.toUpperCase() : letter} `;
    at += memory.write(head, at, "latin1");
    at += text.copy(memory, at);
    memory[at++] = NEWLINE;
  }
  const release = () => {
    if (total <= POOLED_BYTES && pool.length < POOL_SIZE) pool.push(memory);
  };
  return { data: memory.subarray(0, total), lines: records.length, bytes, release };
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
