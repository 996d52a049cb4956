import { auditEventBytes } from "@hms/audit-log";
import { type AuditEvent, type AuditSink, componentPrincipal, HmsError } from "@hms/kernel";
import { importLines } from "./import-lines.ts";
import { SegmentWriter } from "./segment-writer.ts";
import { noteSpoolLimit, SPOOL_BYTES } from "./spool-sizes.ts";

/** A local audit sink; dispose it to have its last events on disk. */
export interface AuditSpool extends AuditSink, AsyncDisposable {
  kept(): Promise<void> | undefined;
}

/** Where a spool is and how much it may hold. */
export interface AuditSpoolOptions {
  directory: string;
  /** Default 256 MiB, undefined too. Beyond it, and while the disk is full, the spool accepts nothing. */
  maxBytes?: number | undefined;
  /** Segments begin anew at this size; default 8 MiB, an eighth of `maxBytes` at most: only whole ones are given back. */
  segmentBytes?: number;
  /** How often the spool says that its process lives; default each minute. 0: never. */
  heartbeatMs?: number;
  /** Told once each time the spool begins or ends to refuse. */
  onChange?: (accepts: boolean, reason: string) => void;
}

/** A failed write is tried again with the first event after this. */
const RETRY_MS = 200;
const HEARTBEAT_MS = 60_000;
/** Events of calls that could not be refused any more wait in memory while the disk is full. */
const MOST_WAITING = 1000;
/** Denials and reads are recorded beyond the limit for changes, up to here. */
const HARD_LIMIT = 1.25;

/** The name under which a spool records what it says of itself. */
const OWN_METHOD = "hms.communication.v1.AuditSpool";

/**
 * Opens a spool: segments that are appended to, one record for each event. An event is written before `record` returns,
 * which survives the death of the process; `kept` resolves when it is forced to disk as well, which survives the death of
 * the machine. Events that come while the disk is being waited for are forced together. Where nothing can be written, the
 * last events wait in memory; how many were lost beyond that is recorded as soon as it can be.
 */
export function openAuditSpool(options: AuditSpoolOptions): AuditSpool {
  return new Spool(options);
}

const segmentBytesOf = (maxBytes: number) => Math.min(8 * 1024 * 1024, Math.ceil(maxBytes / 8));

class Spool implements AuditSpool {
  readonly #options: AuditSpoolOptions;
  readonly #maxBytes: number;
  readonly #writer: SegmentWriter;
  readonly #process: string;
  readonly #heartbeat: NodeJS.Timeout | undefined;
  #refusal: { reason: string; since: number } | undefined;
  #waiting: Uint8Array[] = [];
  #lost = 0;

  constructor(options: AuditSpoolOptions) {
    this.#options = options;
    this.#maxBytes = options.maxBytes ?? SPOOL_BYTES;
    this.#process = options.directory.split("/").at(-1) ?? "";
    this.#writer = new SegmentWriter(options.directory, options.segmentBytes ?? segmentBytesOf(this.#maxBytes));
    noteSpoolLimit(options.directory, this.#maxBytes);
    importLines(options.directory, this.#writer);
    const { heartbeatMs = HEARTBEAT_MS } = options;
    if (heartbeatMs > 0) this.#heartbeat = setInterval(() => this.#beat(), heartbeatMs).unref();
  }

  get accepts(): boolean {
    if (this.#holds(this.#maxBytes)) return false;
    if (this.#refusal !== undefined && Date.now() - this.#refusal.since > RETRY_MS) this.#tryAgain();
    return this.#refusal === undefined;
  }

  record(event: AuditEvent): void {
    const bytes = auditEventBytes(event);
    if (this.#refusal !== undefined && Date.now() - this.#refusal.since > RETRY_MS) this.#tryAgain();
    if (this.#waiting.length > 0 || this.#holds(this.#maxBytes * HARD_LIMIT) || !this.#write(bytes)) this.#wait(bytes);
  }

  kept(): Promise<void> | undefined {
    if (this.#waiting.length === 0) return this.#writer.synced();
    const reason = this.#refusal?.reason ?? "the disk is full";
    return Promise.reject(new HmsError("UNAVAILABLE", `The audit spool cannot be written: ${reason}.`));
  }

  /** True, which is said, if it holds as much, or nobody can tell how much. */
  #holds(most: number): boolean {
    if (this.#writer.size < most) return false;
    const size = this.#measure();
    if (size === undefined) return true;
    if (size < most) return false;
    this.#refuse(`it holds ${size} bytes that are not in the audit log yet`);
    return true;
  }

  /** Undefined, which is said, if the folder cannot be read. */
  #measure(): number | undefined {
    try {
      return this.#writer.measure(RETRY_MS);
    } catch (error) {
      this.#refuse((error as Error).message);
      return undefined;
    }
  }

  #wait(bytes: Uint8Array): void {
    if (this.#waiting.length < MOST_WAITING) this.#waiting.push(bytes);
    else this.#lost += 1;
  }

  /** False if it cannot be written, which is said. */
  #write(bytes: Uint8Array): boolean {
    try {
      this.#writer.write(bytes);
      return true;
    } catch (error) {
      this.#refuse((error as Error).message);
      return false;
    }
  }

  /** Writes what waits; the first that cannot be written keeps its place. */
  #tryAgain(): void {
    const size = this.#measure();
    if (size === undefined) return;
    if (size >= this.#maxBytes) {
      this.#refuse("it is still full");
      return;
    }
    for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
      if (!this.#write(next)) return;
      this.#waiting.shift();
    }
    const lost = this.#lost;
    this.#lost = 0;
    this.#refusal = undefined;
    this.#options.onChange?.(true, "");
    if (lost > 0) this.#recordOwn("EventsLost", { lost });
  }

  #refuse(reason: string): void {
    const isFirst = this.#refusal === undefined;
    this.#refusal = { reason, since: Date.now() };
    if (isFirst) this.#options.onChange?.(false, reason);
  }

  #beat(): void {
    try {
      this.#recordOwn("Heartbeat", {});
    } catch (error) {
      // Thrown in a timer it would end the process.
      this.#refuse((error as Error).message);
    }
  }

  #recordOwn(name: string, details: object): void {
    this.record({
      time: new Date(),
      principal: componentPrincipal(this.#process),
      method: `${OWN_METHOD}/${name}`,
      permission: "",
      resource: "",
      outcome: "OK",
      reason: "",
      requestId: "",
      details,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#heartbeat);
    if (this.#waiting.length > 0) this.#tryAgain();
    await this.#writer.close();
  }
}
