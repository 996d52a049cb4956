import type { MessageInitShape } from "@bufbuild/protobuf";
import type { registry } from "@hms/contracts";
import type { TicketInstance } from "./ticket-payload.ts";

/** A call that is to be told, and of which instance. */
export interface WaitingCall {
  readonly instance: TicketInstance;
  readonly record: MessageInitShape<typeof registry.CallRecordSchema>;
}

const MOST_CALLS = 10_000;
/** So many are dropped at once that a full backlog does not move with each call. */
const DROPPED_TOGETHER = 500;
const MOST_CHARACTERS = 16 * 1024 * 1024;
const LARGEST_BATCH = 500;
const LARGEST_BATCH_CHARACTERS = 1024 * 1024;

/** Calls that wait to be told, oldest first; beyond 10,000 or 16 MiB the oldest are dropped. */
export class ReportBacklog {
  #calls: WaitingCall[] = [];
  #characters = 0;
  #dropped = 0;

  /** How many wait. */
  get size(): number {
    return this.#calls.length;
  }

  /** How many were dropped since this was last asked. */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  add(call: WaitingCall): void {
    this.#calls.push(call);
    this.#characters += charactersOf(call);
    if (this.#calls.length >= MOST_CALLS + DROPPED_TOGETHER) this.#dropOldest(DROPPED_TOGETHER);
    while (this.#characters > MOST_CHARACTERS) this.#dropOldest(Math.ceil(this.#calls.length / 20));
  }

  /** The oldest calls of one instance that go together. */
  batch(): WaitingCall[] {
    const instance = this.#calls[0]?.instance;
    const batch: WaitingCall[] = [];
    let characters = 0;
    for (const call of this.#calls) {
      characters += charactersOf(call);
      const isFull = batch.length === LARGEST_BATCH || (batch.length > 0 && characters > LARGEST_BATCH_CHARACTERS);
      if (call.instance !== instance || isFull) break;
      batch.push(call);
    }
    return batch;
  }

  /** Forgets calls that have been told. */
  told(calls: readonly WaitingCall[]): void {
    const gone = new Set(calls);
    this.#calls = this.#calls.filter((call) => !gone.has(call));
    this.#characters = this.#calls.reduce((sum, call) => sum + charactersOf(call), 0);
  }

  /** Forgets calls that nobody will be told of. */
  drop(calls: readonly WaitingCall[]): void {
    this.#dropped += calls.length;
    this.told(calls);
  }

  #dropOldest(count: number): void {
    for (const call of this.#calls.splice(0, count)) this.#characters -= charactersOf(call);
    this.#dropped += count;
  }
}

function charactersOf({ record }: WaitingCall): number {
  return (record.requestJson?.length ?? 0) + (record.reason?.length ?? 0);
}
