import { closeSync, fdatasync, fstatSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import type { AuditEvent, AuditSink } from "@hms/kernel";

/** A local audit sink; dispose it to have its last events on disk. */
export interface AuditSpool extends AuditSink, AsyncDisposable {}

/** Where a spool is and how much it may hold. */
export interface AuditSpoolOptions {
  directory: string;
  /** Default 256 MiB. Beyond it, and while the disk is full, the spool accepts nothing. */
  maxBytes?: number;
  /** Told once each time the spool begins or ends to refuse. */
  onChange?: (accepts: boolean, reason: string) => void;
}

/** A failed write is tried again with the first event after this. */
const RETRY_MS = 200;

/**
 * Opens an append-only file of JSON lines, one for each event. An event is written before its call is answered and
 * forced to disk within the same 20 ms group. A line that a crash cut short is removed when the spool is opened again.
 */
export function openAuditSpool(options: AuditSpoolOptions): AuditSpool {
  mkdirSync(options.directory, { recursive: true, mode: 0o700 });
  const file = openSync(`${options.directory}/spool.jsonl`, "a+", 0o600);
  const maxBytes = options.maxBytes ?? 256 * 1024 * 1024;
  let size = dropTornLine(file);
  let refusal: { reason: string; since: number } | undefined;
  let flush: Promise<void> | undefined;

  const refuse = (reason: string) => {
    if (refusal === undefined) options.onChange?.(false, reason);
    refusal = { reason, since: Date.now() };
  };
  const sync = () => {
    flush ??= new Promise<void>((resolve) => {
      setTimeout(() => {
        flush = undefined;
        fdatasync(file, (error) => {
          if (error) refuse(error.message);
          resolve();
        });
      }, 20);
    });
  };
  return {
    get accepts() {
      if (size >= maxBytes) refuse(`it holds ${size} bytes already`);
      return refusal === undefined || (size < maxBytes && Date.now() - refusal.since > RETRY_MS);
    },
    record(event) {
      const line = Buffer.from(`${JSON.stringify(entry(event))}\n`);
      try {
        writeWhole(file, line, size);
        size += line.length;
        if (refusal !== undefined) options.onChange?.(true, "");
        refusal = undefined;
        sync();
      } catch (error) {
        refuse((error as Error).message);
      }
    },
    async [Symbol.asyncDispose]() {
      await flush;
      closeSync(file);
    },
  };
}

function entry({ principal, time, ...rest }: AuditEvent): object {
  return { time: time.toISOString(), principal: principal.id, principal_kind: principal.kind, ...rest };
}

function writeWhole(file: number, line: Buffer, before: number): void {
  let written = 0;
  try {
    while (written < line.length) written += writeSync(file, line, written);
  } catch (error) {
    if (written > 0) ftruncateSync(file, before);
    throw error;
  }
}

/** Cuts the file behind its last whole line and answers with the size that is left. */
function dropTornLine(file: number): number {
  const { size } = fstatSync(file);
  const tail = Buffer.alloc(Math.min(size, 1024 * 1024));
  readSync(file, tail, 0, tail.length, size - tail.length);
  const end = tail.lastIndexOf("\n") + 1;
  const whole = size - tail.length + end;
  if (whole < size) ftruncateSync(file, whole);
  return whole;
}
