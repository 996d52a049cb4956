import { fromBinary } from "@bufbuild/protobuf";
import { audit } from "@hms/contracts";
import { CHAIN_START, chainMac, EpochKeys } from "./chain.ts";
import type { CheckpointBook } from "./checkpoint-book.ts";
import { type EventColumns, eventColumns } from "./event-columns.ts";
import { LOG_SHARD } from "./log-shard.ts";

/** A row of the log, and what its columns say. */
export interface LogRow {
  readonly shard: string;
  readonly seq: number;
  readonly epoch: number;
  readonly event: Uint8Array;
  readonly mac: Uint8Array;
  readonly columns: Readonly<Partial<EventColumns>>;
}

/** Something that is wrong, and where. */
export interface LogFinding {
  readonly shard: string;
  /** The event it is about; 0: the chain or the checkpoints as a whole. */
  readonly seq: number;
  readonly what: string;
}

/** What was found out about a log. Both lists are empty if it is sound. */
export interface LogReport {
  readonly events: number;
  /** First and last place of each chain. */
  readonly shards: Readonly<Record<string, { first: number; last: number }>>;
  /** What is not as it was written: changed, exchanged or forged. */
  readonly integrity: readonly LogFinding[];
  /** What was there and is not any more. */
  readonly completeness: readonly LogFinding[];
  /** Up to where checkpoints prove that nothing is missing; undefined: there is none. */
  readonly provenUntil: string | undefined;
  readonly checkpoints: number;
}

/** What a log is verified against. */
export interface VerifyLogOptions {
  /** The key of the first epoch. */
  readonly root: Uint8Array;
  readonly checkpoints: CheckpointBook;
  /** True for an older copy of the checkpoints: that newer ones are not in it is no loss. Default false. */
  readonly isAnchor?: boolean;
}

interface Chain {
  readonly shard: string;
  readonly first: number;
  /** The place and the epoch of the last row. */
  last: number;
  epoch: number;
  /** Macs that the next event may follow: as stored, and as computed where these differ; none: not known. */
  macs: readonly Uint8Array[];
}

/** Verifies a log row by row, each chain in its order; memory does not grow with the log. */
export class LogVerifier {
  readonly #keys: EpochKeys;
  readonly #checkpoints: CheckpointBook;
  readonly #isAnchor: boolean;
  readonly #integrity: LogFinding[] = [];
  readonly #completeness: LogFinding[] = [];
  readonly #shards: Record<string, { first: number; last: number }> = {};
  #chain: Chain | undefined;
  #events = 0;
  /** The furthest checkpoint that the log itself tells of. */
  #claimed = 0;

  constructor({ root, checkpoints, isAnchor = false }: VerifyLogOptions) {
    this.#keys = new EpochKeys(root);
    this.#checkpoints = checkpoints;
    this.#isAnchor = isAnchor;
  }

  /** Takes the next row. */
  add(row: LogRow): void {
    this.#events += 1;
    const chain = this.#chainOf(row);
    this.#compareColumns(row);
    this.#verifyPlace(chain, row);
    this.#verifyMac(chain, row);
    this.#verifyMilestone(row);
    if (row.shard === LOG_SHARD) this.#readClaim(row);
  }

  /** What was found, once every row was taken. */
  finish(): LogReport {
    this.#closeChain();
    const { last, first, problems } = this.#checkpoints;
    for (const what of problems) this.#completeness.push({ shard: "", seq: 0, what });
    for (const shard of this.#checkpoints.shards) {
      if (this.#shards[shard] === undefined) this.#verifyEnd(shard, 0);
    }
    if (!this.#isAnchor && this.#claimed > (last?.number ?? 0)) {
      const end = last === undefined ? "there are no checkpoints" : `the checkpoints end with #${last.number}`;
      this.#completeness.push({ shard: "", seq: 0, what: `${end}, but the log knows of #${this.#claimed}` });
    }
    return {
      events: this.#events,
      shards: this.#shards,
      integrity: this.#integrity,
      completeness: this.#completeness,
      provenUntil: last?.time,
      checkpoints: last === undefined || first === undefined ? 0 : last.number - first.number + 1,
    };
  }

  #chainOf({ shard, seq, epoch }: LogRow): Chain {
    if (this.#chain?.shard === shard) return this.#chain;
    this.#closeChain();
    if (this.#shards[shard] !== undefined) throw new RangeError(`The rows of ${shard} do not stand together.`);
    this.#shards[shard] = { first: seq, last: seq };
    this.#chain = { shard, first: seq, epoch, ...this.#startOf(shard, seq) };
    return this.#chain;
  }

  /** Days that were about to be removed may still be there, from wherever on: nothing is said of what stood before them. */
  #startOf(shard: string, first: number): Pick<Chain, "last" | "macs"> {
    const removed = this.#checkpoints.removed(shard);
    if (first === 1 || removed === undefined) return { last: 0, macs: [CHAIN_START] };
    if (first <= removed.seq) return { last: first - 1, macs: [] };
    return { last: removed.seq, macs: [Buffer.from(removed.mac, "base64")] };
  }

  #closeChain(): void {
    if (this.#chain) this.#verifyEnd(this.#chain.shard, this.#chain.last);
    this.#chain = undefined;
  }

  #compareColumns({ shard, seq, event, columns }: LogRow): void {
    let said: EventColumns;
    try {
      said = eventColumns(event);
    } catch {
      this.#broken(shard, seq, "its bytes are no event");
      return;
    }
    if (said.shard !== shard || said.seq !== seq) {
      this.#broken(shard, seq, `its row holds the event ${said.seq} of ${said.shard}`);
    }
    for (const [name, value] of Object.entries(columns)) {
      const own = said[name as keyof EventColumns];
      if (own === value) continue;
      this.#broken(shard, seq, `its column ${name} says ${JSON.stringify(value)}, the event ${JSON.stringify(own)}`);
    }
  }

  #verifyPlace(chain: Chain, { shard, seq }: LogRow): void {
    if (seq <= chain.last) this.#broken(shard, seq, `it stands after ${chain.last}`);
    else if (seq > chain.last + 1) {
      const first = chain.last + 1;
      const missing = first === seq - 1 ? `event ${first} is missing` : `events ${first} to ${seq - 1} are missing`;
      this.#completeness.push({ shard, seq: first, what: missing });
      chain.macs = [];
    }
    chain.last = Math.max(chain.last, seq);
    (this.#shards[shard] as { last: number }).last = chain.last;
  }

  #verifyMac(chain: Chain, { shard, seq, epoch, event, mac }: LogRow): void {
    if (epoch < chain.epoch) this.#broken(shard, seq, `its epoch is ${epoch}, after ${chain.epoch}`);
    chain.epoch = Math.max(chain.epoch, epoch);
    const expected = this.#macs(chain, { shard, epoch, event });
    if (chain.macs.length === 0 || expected.some((one) => Buffer.compare(one, mac) === 0)) {
      chain.macs = [mac];
      return;
    }
    this.#broken(shard, seq, "it, its place or its MAC was changed after it was written");
    chain.macs = [mac, ...expected];
  }

  #macs(chain: Chain, { shard, epoch, event }: Pick<LogRow, "shard" | "epoch" | "event">): Buffer[] {
    try {
      const key = this.#keys.keyOf(shard, epoch);
      return chain.macs.map((previous) => chainMac(key, previous, event));
    } catch {
      return [];
    }
  }

  #verifyMilestone({ shard, seq, mac }: LogRow): void {
    const milestone = this.#checkpoints.at(shard, seq);
    if (milestone === undefined || milestone.mac === Buffer.from(mac).toString("base64")) return;
    const when = `checkpoint #${milestone.number} (${milestone.time})`;
    this.#broken(shard, seq, `${when} has seen another event here: the log was written anew from an earlier state`);
  }

  #verifyEnd(shard: string, last: number): void {
    const furthest = this.#checkpoints.furthest(shard);
    const removed = this.#checkpoints.removed(shard)?.seq ?? 0;
    if (furthest === undefined || furthest.seq <= Math.max(last, removed)) return;
    const proof = `checkpoint #${furthest.number} (${furthest.time}) proves ${furthest.seq}`;
    const missing = furthest.seq - Math.max(last, removed);
    const what = `the chain ends at ${last}, but ${proof}: ${missing} ${missing === 1 ? "event is" : "events are"} missing at its end`;
    this.#completeness.push({ shard, seq: last + 1, what });
  }

  #readClaim({ event }: LogRow): void {
    try {
      const { detailsJson } = fromBinary(audit.AuditEventSchema, event);
      const claimed = detailsJson === "" ? undefined : JSON.parse(detailsJson).checkpoint;
      if (typeof claimed === "number") this.#claimed = Math.max(this.#claimed, claimed);
    } catch {
      // Said already: its bytes are no event.
    }
  }

  #broken(shard: string, seq: number, what: string): void {
    this.#integrity.push({ shard, seq, what });
  }
}
