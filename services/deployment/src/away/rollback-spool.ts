import { rmSync } from "node:fs";
import type { JsonObject } from "@bufbuild/protobuf";
import { openRecordFile, type RecordFile } from "@hms/kept-files";
import { HmsError } from "@hms/kernel";
import { takenOver } from "../errors.ts";
import type { Claim, DriverJournal, JournalPosition, TurnScene } from "../rollout-journal.ts";
import type { Transition } from "../rollout-machine.ts";
import type { RolloutRow } from "../rollout-rows.ts";
import { hasEnded, type RolloutAsk, type RolloutState } from "../rollout-state.ts";
import type { ServiceKey } from "../service-record.ts";
import { copyAfter } from "./record-after.ts";
import { type CopyForm, copyForm, copyOf, type ServiceCopy, withRevisionsInUse } from "./service-copy.ts";

/** The first record of a spool: who asked for the rollback, and what it began from. */
export interface SpoolHead extends ServiceKey {
  rolloutId: string;
  principal: string;
  reason: string;
  /** The manifest's version of the revision that it leads to. */
  version: string;
  startedAt: string;
  /** The service as it was found, with the traffic given back to what served before. */
  copy: CopyForm;
  planned: RolloutState;
  event: JsonObject;
  /** Replicas of a rollout under way that are given up before the rollback begins. */
  givesUp: string[];
}

/** One transition. */
export interface SpooledTurn {
  turn: number;
  at: string;
  state: RolloutState;
  events: JsonObject[];
}

/** What follows the first record. */
type SpoolRecord =
  | SpooledTurn
  /** Events between two transitions. */
  | { said: JsonObject[] }
  | { proven: string; id: string }
  | { gaveUp: true };

/** A rollback in a file: the journal of its driver while the database is away. */
export class RollbackSpool implements DriverJournal {
  readonly head: SpoolHead;
  readonly #records: RecordFile;
  #state: RolloutState;
  #copy: ServiceCopy;
  #turn = 0;
  readonly #events: JsonObject[];
  readonly #all: SpoolRecord[] = [];
  #lastAt: number;
  #hasGivenUp = false;

  private constructor(head: SpoolHead, records: RecordFile) {
    this.head = head;
    this.#records = records;
    this.#state = head.planned;
    const { record, revisions } = copyOf(head.copy);
    this.#copy = { record: withRevisionsInUse(record, revisions, [head.planned.revision]), revisions };
    this.#events = [head.event];
    this.#lastAt = Date.parse(head.startedAt);
  }

  /** Begins a spool. @throws HmsError RESOURCE_EXHAUSTED if it cannot be written */
  static begin(file: string, head: SpoolHead): RollbackSpool {
    let records: RecordFile | undefined;
    try {
      records = openRecordFile(file);
      records.append(head);
    } catch (cause) {
      records?.[Symbol.dispose]();
      if (records) rmSync(file, { force: true });
      throw notWritten(file, cause);
    }
    return new RollbackSpool(head, records);
  }

  /** Takes up a spool that an earlier server began; undefined if it did not get so far as to begin. */
  static open(file: string): RollbackSpool | undefined {
    const records = openRecordFile(file);
    const [head, ...rest] = records.found as [SpoolHead?, ...SpoolRecord[]];
    if (head === undefined) {
      records[Symbol.dispose]();
      rmSync(file, { force: true });
      return undefined;
    }
    const spool = new RollbackSpool(head, records);
    for (const record of rest) spool.#apply(record);
    return spool;
  }

  get file(): string {
    return this.#records.file;
  }

  get key(): ServiceKey {
    const { environment, service } = this.head;
    return { environment, service };
  }

  /** The service as it is now. */
  get copy(): ServiceCopy {
    return this.#copy;
  }

  get hasEnded(): boolean {
    return hasEnded(this.#state);
  }

  get hasGivenUp(): boolean {
    return this.#hasGivenUp;
  }

  /** What has been recorded after the head, in order. */
  get records(): readonly SpoolRecord[] {
    return this.#all;
  }

  /** The rollout as a row would have it. */
  get row(): RolloutRow {
    const { environment, service, rolloutId, principal, reason, version, startedAt } = this.head;
    const { phase, revision, previousRevision } = this.#state;
    return {
      ...{ environment, service, principal, reason, version, phase },
      rollout_id: rolloutId,
      position: "0",
      kind: "rollback",
      revision: String(revision),
      previous_revision: String(previousRevision),
      request: { away: true },
      state: this.#state,
      turn: String(this.#turn),
      events: String(this.#events.length),
      failure_reason: this.#state.failure?.reason ?? "",
      started_at: new Date(startedAt),
      ended_at: null,
      asked: [],
    };
  }

  async claim(): Promise<Claim> {
    if (this.hasEnded) return { granted: false, ended: true };
    return { granted: true, fence: 1, awayMs: Math.max(0, Date.now() - this.#lastAt) };
  }

  async beat(): Promise<void> {}

  async asks(): Promise<RolloutAsk[]> {
    return [];
  }

  async read(): Promise<RolloutRow> {
    return this.row;
  }

  async turn(at: { turn: number }, decide: (scene: TurnScene) => Transition): Promise<JournalPosition> {
    const { rolloutId } = this.head;
    if (at.turn === this.#turn - 1) return this.#position();
    if (at.turn !== this.#turn) throw takenOver(rolloutId);
    const { state, events } = decide({ row: this.row, state: this.#state, record: this.#copy.record });
    this.#add({ turn: this.#turn + 1, at: new Date().toISOString(), state, events });
    return this.#position();
  }

  async append(at: { from: number }, events: readonly JsonObject[]): Promise<number> {
    const to = at.from + events.length;
    if (this.#events.length === to) return to;
    if (this.#events.length !== at.from) throw takenOver(this.head.rolloutId);
    if (events.length > 0) this.#add({ said: [...events] });
    return to;
  }

  async readEvents(_: string, after: number): Promise<{ sequence: number; event: JsonObject }[]> {
    return this.#events.slice(after).map((event, index) => ({ sequence: after + index + 1, event }));
  }

  /** Notes which process of a replica has passed its checks: a restarted server need not doubt it. */
  noteProven(id: string, proven: string): void {
    this.#add({ proven, id });
  }

  /** Notes that what was to be given up gets no requests any more, and is to end. */
  giveUp(): void {
    this.#add({ gaveUp: true });
  }

  #position(): JournalPosition {
    return { state: this.#state, record: this.#copy.record, turn: this.#turn, events: this.#events.length };
  }

  #add(record: SpoolRecord): void {
    try {
      this.#records.append(record);
    } catch (cause) {
      throw notWritten(this.file, cause);
    }
    this.#apply(record);
  }

  #apply(record: SpoolRecord): void {
    this.#all.push(record);
    if ("turn" in record) this.#applyTurn(record);
    else if ("said" in record) this.#events.push(...record.said);
    else if ("proven" in record) this.#change(record.id, { proven: record.proven });
    else {
      this.#hasGivenUp = true;
      for (const id of this.head.givesUp) this.#change(id, { phase: "stopping", traffic: "none" });
    }
  }

  #applyTurn({ turn, at, state, events }: SpooledTurn): void {
    this.#copy = copyAfter(this.#copy, { before: this.#state, state, at: new Date(at) });
    this.#state = state;
    this.#turn = turn;
    this.#events.push(...events);
    this.#lastAt = Date.parse(at);
  }

  #change(id: string, change: Partial<ServiceCopy["record"]["replicas"][number]>): void {
    const { record, revisions } = this.#copy;
    const replicas = record.replicas.map((replica) => (replica.id === id ? { ...replica, ...change } : replica));
    const changed = withRevisionsInUse({ ...record, replicas }, revisions, [this.#state.revision]);
    this.#copy = { record: changed, revisions };
  }

  /** Leaves the file to the next server. */
  close(): void {
    this.#records[Symbol.dispose]();
  }

  /** Takes the file away: the database has all of it. */
  remove(): void {
    this.close();
    rmSync(this.file, { force: true });
  }
}

/** The head of a rollback of a service as it is found. */
export function spoolHead(facts: Omit<SpoolHead, "copy"> & { copy: ServiceCopy }): SpoolHead {
  return { ...facts, copy: copyForm(facts.copy) };
}

function notWritten(file: string, cause: unknown): HmsError {
  const message = `${file} cannot be written, and without the database nothing else keeps the rollback. Make room on the disk.`;
  return new HmsError("RESOURCE_EXHAUSTED", message, { reason: "NOT_KEPT", cause });
}
