import { binaryArray } from "@hms/postgres";
import { sql } from "kysely";
import type { ClaimedTask } from "./claimed-task.ts";
import { type RunDatabase, rowsOf } from "./run-database.ts";

const FLUSH_EVERY_MS = 100;
const FLUSH_AT_BYTES = 64 * 1024;
/** What is kept while the database is away. */
const MOST_BYTES = 4 * 1024 * 1024;

interface Chunk {
  task: ClaimedTask;
  seq: number;
  bytes: Buffer;
}

/** Collects what steps say and writes it every 100 ms or 64 KiB. */
export class StepLogs implements AsyncDisposable {
  readonly #database: RunDatabase;
  readonly #open = new Map<string, { task: ClaimedTask; lines: string[]; seq: number }>();
  #waiting: Chunk[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;

  constructor(database: RunDatabase) {
    this.#database = database;
  }

  /** Adds a line of a step. */
  add(task: ClaimedTask, line: string): void {
    const log = this.#open.get(task.fence) ?? { task, lines: [], seq: 0 };
    this.#open.set(task.fence, log);
    log.lines.push(line.endsWith("\n") ? line : `${line}\n`);
    this.#bytes += line.length;
    if (this.#bytes > FLUSH_AT_BYTES) void this.flush();
    this.#timer ??= setTimeout(() => void this.flush(), FLUSH_EVERY_MS);
  }

  /** A step has ended. False: it has said nothing. */
  end(fence: string): boolean {
    if (!this.#open.has(fence)) return false;
    this.#cut();
    return this.#open.delete(fence);
  }

  #cut(): void {
    for (const log of this.#open.values()) {
      if (log.lines.length === 0) continue;
      log.seq += 1;
      this.#waiting.push({ task: log.task, seq: log.seq, bytes: Buffer.from(log.lines.join("")) });
      log.lines = [];
    }
  }

  /** Writes what has been said so far; what cannot be written is kept for the next time, up to 4 MiB. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#flushing;
    this.#cut();
    this.#bytes = 0;
    if (this.#waiting.length === 0) return;
    this.#flushing = this.#write().finally(() => {
      this.#flushing = undefined;
    });
    await this.#flushing;
  }

  async #write(): Promise<void> {
    const chunks = this.#waiting;
    this.#waiting = [];
    try {
      await insert(this.#database, chunks);
    } catch {
      this.#keep(chunks);
      this.#timer ??= setTimeout(() => void this.flush(), 1000);
    }
  }

  #keep(chunks: Chunk[]): void {
    let bytes = 0;
    const kept = [...chunks, ...this.#waiting].map((chunk) => {
      bytes += chunk.bytes.length;
      // The place of what had to be dropped is kept: the numbers have no gaps.
      return bytes > MOST_BYTES ? { ...chunk, bytes: Buffer.from("[lines dropped: the database was away]\n") } : chunk;
    });
    this.#waiting = kept;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush();
    clearTimeout(this.#timer);
  }
}

async function insert(database: RunDatabase, chunks: readonly Chunk[]): Promise<void> {
  const of = <T>(pick: (chunk: Chunk) => T) => chunks.map(pick);
  await rowsOf(
    database,
    sql`select write_logs(${of(({ task }) => task.runId)}::uuid[], ${of(({ task }) => task.node)}::text[],
      ${of(({ task }) => task.target)}::text[], ${of(({ task }) => task.attempt)}::int[], ${of(({ seq }) => seq)}::int[],
      ${binaryArray.bytea(of(({ bytes }) => bytes))}::bytea[])`,
  );
}

/** Where a reader of a step's log stands. */
export interface LogCursor {
  readonly attempt: number;
  readonly seq: number;
}

/** A piece of a step's log. */
export interface LogPiece extends LogCursor {
  readonly at: Date;
  readonly text: string;
}

/** Whose log, and from where on. */
export interface LogRequest {
  readonly runId: string;
  readonly node: string;
  /** Default: the node itself. */
  readonly target?: string;
  /** Only what comes behind it. */
  readonly after?: LogCursor;
  /** Pieces at most; default 200. */
  readonly limit?: number;
}

/** The log of a step behind a cursor, in its order. */
export async function readLogs(
  database: RunDatabase,
  { runId, node, target = "", after, limit = 200 }: LogRequest,
): Promise<LogPiece[]> {
  const { attempt, seq } = after ?? { attempt: 0, seq: 0 };
  const rows = await rowsOf(
    database,
    sql<{ attempt: number; seq: number; at: Date; bytes: Buffer }>`select attempt, seq, at, bytes from log_chunk
      where run_id = ${runId}::uuid and node = ${node} and target = ${target} and (attempt, seq) > (${attempt}::int, ${seq}::int)
      order by attempt, seq limit ${limit}`,
  );
  return rows.map(({ bytes, ...piece }) => ({ ...piece, text: bytes.toString() }));
}

/** A piece of a run's log, of whichever step. */
export interface RunLogPiece extends LogPiece {
  /** Grows within the run: what comes later is behind it. */
  readonly position: number;
  readonly node: string;
  /** Empty: the node itself. */
  readonly target: string;
}

/** Whose log, and from where on. */
export interface RunLogRequest {
  readonly runId: string;
  /** Only what is behind this position; default 0: from the beginning. */
  readonly after?: number;
  /** Pieces at most; default 200. */
  readonly limit?: number;
}

/** The log of all steps of a run behind a position, in the order in which it was stored. */
export async function readRunLogs(
  database: RunDatabase,
  { runId, after = 0, limit = 200 }: RunLogRequest,
): Promise<RunLogPiece[]> {
  const rows = await rowsOf(
    database,
    sql<
      Omit<RunLogPiece, "text"> & { bytes: Buffer }
    >`select position::float8 as position, node, target, attempt, seq, at, bytes
      from log_chunk where run_id = ${runId}::uuid and position > ${after}::bigint order by position limit ${limit}`,
  );
  return rows.map(({ bytes, ...piece }) => ({ ...piece, text: bytes.toString() }));
}
