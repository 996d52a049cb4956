import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { agent } from "@hms/contracts";
import { logFileNumbers, logFilePath } from "./log-files.ts";
import { type EncodedRecords, encodeRecords, type LogRecord } from "./log-record.ts";

/** How much one log keeps. */
export interface LogRetention {
  /** A file is closed when it has reached this size; default 10 MiB. */
  fileBytes: number;
  /** Default 5. */
  files: number;
}

const DEFAULT_RETENTION: LogRetention = { fileBytes: 10 * 1024 * 1024, files: 5 };
const RETRY_MS = 1000;

/** Appends to one log and rotates it. Never throws: what a full disk swallows is counted and told once there is space. */
export class LogWriter {
  readonly directory: string;
  readonly #retention: LogRetention;
  readonly #onAppend: () => void;
  #tail: Promise<void> = Promise.resolve();
  #file: { handle: FileHandle; number: number; bytes: number } | undefined;
  #lost = { lines: 0, bytes: 0, reason: "" };
  #retryAt = 0;
  /** A crash or a full disk may have left half a line: the next write begins a new one. */
  #torn = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(directory: string, options: { retention?: Partial<LogRetention>; onAppend?: () => void } = {}) {
    this.directory = directory;
    this.#retention = { ...DEFAULT_RETENTION, ...options.retention };
    this.#onAppend = options.onAppend ?? (() => {});
  }

  /** Resolves when the records are in the file, or counted as lost. */
  append(records: readonly LogRecord[]): Promise<void> {
    if (records.length > 0) {
      const encoded = encodeRecords(records);
      this.#tail = this.#tail.then(() => this.#write(encoded)).finally(() => encoded.release());
    }
    return this.#tail;
  }

  /** Appends a remark of the agent's own. */
  note(text: string): Promise<void> {
    return this.append([
      { timeMs: Date.now(), stream: agent.LogStream.SYSTEM, text: Buffer.from(text), continues: false },
    ]);
  }

  /** Resolves when everything is written and the file is closed; the next append opens it again. */
  async close(): Promise<void> {
    clearTimeout(this.#retry);
    this.#tail = this.#tail.then(() => this.#closeFile());
    await this.#tail;
  }

  async #write(records: EncodedRecords | undefined): Promise<void> {
    try {
      if (this.#lost.lines > 0) await this.#tellLoss();
      if (records) await this.#put(records.data);
    } catch (error) {
      this.#lose(records, error as NodeJS.ErrnoException);
    }
    this.#onAppend();
  }

  #lose(records: EncodedRecords | undefined, error: NodeJS.ErrnoException): void {
    this.#lost.lines += records?.lines ?? 0;
    this.#lost.bytes += records?.bytes ?? 0;
    if (!error.message.startsWith("still waiting")) {
      this.#lost.reason = error.code ?? error.message;
      this.#retryAt = performance.now() + RETRY_MS;
      // A program that has fallen silent must not keep the loss from being told.
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.#retryTelling(), RETRY_MS + 100);
      this.#retry.unref();
    }
  }

  #retryTelling(): void {
    this.#tail = this.#tail.then(() => (this.#lost.lines > 0 ? this.#write(undefined) : undefined));
  }

  async #tellLoss(): Promise<void> {
    // Asking a full disk for every chunk would cost more than the log is worth.
    if (performance.now() < this.#retryAt) throw new Error("still waiting for space");
    const { lines, bytes, reason } = this.#lost;
    const why = reason === "ENOSPC" ? "the disk was full" : reason;
    const text = Buffer.from(`${lines} lines (${bytes} bytes) of output were not stored: ${why}`);
    const record = { timeMs: Date.now(), stream: agent.LogStream.SYSTEM, text, continues: false };
    await this.#put(encodeRecords([record]).data);
    this.#lost = { lines: 0, bytes: 0, reason: "" };
  }

  async #put(data: Buffer): Promise<void> {
    const file = await this.#openFile();
    try {
      if (this.#torn) await file.handle.appendFile("\n");
      this.#torn = false;
      await file.handle.appendFile(data);
      file.bytes += data.length;
    } catch (error) {
      this.#torn = true;
      await this.#closeFile();
      throw error;
    }
    if (file.bytes >= this.#retention.fileBytes) await this.#rotate(file.number);
  }

  async #openFile(): Promise<{ handle: FileHandle; number: number; bytes: number }> {
    if (this.#file) return this.#file;
    const numbers = await logFileNumbers(this.directory);
    const number = numbers.at(-1) ?? 1;
    if (numbers.length === 0) await mkdir(this.directory, { recursive: true, mode: 0o700 });
    const handle = await open(logFilePath(this.directory, number), "a", 0o600);
    const { size } = await handle.stat();
    if (size > 0) this.#torn ||= !(await endsWithNewline(logFilePath(this.directory, number), size));
    this.#file = { handle, number, bytes: size };
    return this.#file;
  }

  async #rotate(number: number): Promise<void> {
    await this.#closeFile();
    const numbers = await logFileNumbers(this.directory);
    // The old ones first: on a full disk they make room for the new one.
    const old = numbers.slice(0, Math.max(0, numbers.length + 1 - this.#retention.files));
    for (const each of old) await rm(logFilePath(this.directory, each), { force: true });
    try {
      const handle = await open(logFilePath(this.directory, number + 1), "a", 0o600);
      this.#file = { handle, number: number + 1, bytes: 0 };
    } catch {
      // No space for a new file: the next write goes on in the last one and tries again.
    }
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.handle.close();
  }
}

async function endsWithNewline(path: string, size: number): Promise<boolean> {
  const handle = await open(path, "r");
  try {
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1);
    return buffer[0] === 0x0a;
  } finally {
    await handle.close();
  }
}
