import { LogCursor as Cursor, type LogCursor } from "./log-cursor.ts";
import type { LogRecord } from "./log-record.ts";
import type { LogSelection, LogStore, StoredLog } from "./log-store.ts";
import { findLast, type LogMark } from "./log-tail.ts";

/** What a reader wants. */
export interface LogQuery extends LogSelection {
  /** The last N lines over all replicas; 0: all there are. */
  tail: number;
  sinceMs: number;
  /** Only lines that contain this text; empty: all. */
  contains: string;
  /** Go on with new lines until cancelled. */
  follow: boolean;
}

/** A record with where it came from. */
export interface FoundRecord {
  log: StoredLog;
  record: LogRecord;
}

/** Some records, oldest first. */
export interface LogBatch {
  records: FoundRecord[];
  /** True once, when everything stored before the call has been sent. */
  caughtUp: boolean;
}

const BATCH_RECORDS = 500;
const BATCH_BYTES = 256 * 1024;
/** New lines are collected this long, so that a busy log does not become one message per line. */
const COLLECT_MS = 25;

interface Source {
  log: StoredLog;
  cursor: LogCursor;
}

/** Reads logs merged by time, holding no more than a block per replica and one batch; the reader sets the pace. */
export async function* queryLogs(store: LogStore, query: LogQuery, signal?: AbortSignal): AsyncGenerator<LogBatch> {
  const matches = matcher(query);
  const sources = new Map<string, Source>();
  const changed = query.follow ? new Changes(store) : undefined;
  try {
    for (const source of await openSources(store, query, matches)) sources.set(source.log.replicaId, source);
    for await (const records of merge([...sources.values()], matches)) {
      signal?.throwIfAborted();
      yield { records, caughtUp: false };
    }
    yield { records: [], caughtUp: true };
    while (changed) {
      const replicaIds = await changed.next(signal);
      for (const replicaId of replicaIds) await addSource(store, { query, replicaId, sources });
      const touched = replicaIds.flatMap((replicaId) => sources.get(replicaId) ?? []);
      for await (const records of merge(touched, matches)) yield { records, caughtUp: false };
    }
  } finally {
    changed?.close();
    for (const { cursor } of sources.values()) await cursor[Symbol.asyncDispose]();
  }
}

function matcher({ contains, sinceMs }: LogQuery): (record: LogRecord) => boolean {
  const needle = Buffer.from(contains);
  return ({ timeMs, text }) => timeMs >= sinceMs && (needle.length === 0 || text.includes(needle));
}

async function openSources(
  store: LogStore,
  query: LogQuery,
  matches: (record: LogRecord) => boolean,
): Promise<Source[]> {
  const logs = await store.list(query);
  if (query.tail <= 0) return logs.map((log) => ({ log, cursor: new Cursor(log.directory) }));
  const found: { log: StoredLog; mark: LogMark }[] = [];
  const begins = new Map<string, LogMark>();
  // Lines of one millisecond are merged in the order of their logs, so here the last log's are the newest.
  for (const log of logs.toReversed()) {
    const verdict = (record: LogRecord) => (record.timeMs < query.sinceMs ? "stop" : matches(record));
    for (const mark of await findLast(log.directory, query.tail, verdict)) found.push({ log, mark });
  }
  found.sort((a, b) => b.mark.timeMs - a.mark.timeMs);
  // Newest first, so the last one seen of a replica is where its part begins.
  for (const { log, mark } of found.slice(0, query.tail)) begins.set(log.replicaId, mark);
  const wanted = query.follow ? logs : logs.filter((log) => begins.has(log.replicaId));
  return Promise.all(
    wanted.map(async (log) => {
      const begin = begins.get(log.replicaId);
      return { log, cursor: begin ? new Cursor(log.directory, begin) : await cursorAtEnd(log) };
    }),
  );
}

async function cursorAtEnd(log: StoredLog): Promise<LogCursor> {
  const cursor = new Cursor(log.directory);
  const [last] = await findLast(log.directory, 1, () => true);
  if (!last) return cursor;
  const after = new Cursor(log.directory, last);
  if (await after.load()) after.take();
  return after;
}

async function addSource(
  store: LogStore,
  { query, replicaId, sources }: { query: LogQuery; replicaId: string; sources: Map<string, Source> },
): Promise<void> {
  if (sources.has(replicaId) || (query.replicaId && query.replicaId !== replicaId)) return;
  const [log] = await store.list({ environment: query.environment, service: query.service, replicaId });
  if (log) sources.set(replicaId, { log, cursor: new Cursor(log.directory) });
}

async function* merge(
  sources: readonly Source[],
  matches: (record: LogRecord) => boolean,
): AsyncGenerator<FoundRecord[]> {
  const left = new Set(sources);
  let batch: FoundRecord[] = [];
  let bytes = 0;
  for (let found = await takeEarliest(left); found; found = await takeEarliest(left)) {
    if (!matches(found.record)) continue;
    batch.push(found);
    bytes += found.record.text.length;
    if (batch.length < BATCH_RECORDS && bytes < BATCH_BYTES) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

async function takeEarliest(left: Set<Source>): Promise<FoundRecord | undefined> {
  for (const source of left) if (!source.cursor.head && !(await source.cursor.load())) left.delete(source);
  const first = earliest(left);
  const record = first?.cursor.take();
  return first && record && { log: first.log, record };
}

function earliest(sources: Iterable<Source>): Source | undefined {
  let first: Source | undefined;
  for (const source of sources) {
    const timeMs = source.cursor.head?.timeMs ?? Number.POSITIVE_INFINITY;
    if (!first || timeMs < (first.cursor.head?.timeMs ?? 0)) first = source;
  }
  return first;
}

/** Collects which replicas wrote something since the last look. */
class Changes {
  readonly #dirty = new Set<string>();
  readonly #stop: () => void;
  #wake: (() => void) | undefined;

  constructor(store: LogStore) {
    this.#stop = store.onAppend((replicaId) => {
      this.#dirty.add(replicaId);
      this.#wake?.();
    });
  }

  async next(signal?: AbortSignal): Promise<string[]> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // While lines are collected nobody waits for it: the next look finds the abort.
    promise.catch(() => {});
    const aborted = () => reject(signal?.reason);
    signal?.addEventListener("abort", aborted, { once: true });
    try {
      if (this.#dirty.size === 0) {
        this.#wake = resolve;
        await promise;
      }
      this.#wake = undefined;
      await new Promise((done) => setTimeout(done, COLLECT_MS));
    } finally {
      signal?.removeEventListener("abort", aborted);
    }
    const replicaIds = [...this.#dirty];
    this.#dirty.clear();
    return replicaIds;
  }

  close(): void {
    this.#stop();
  }
}
