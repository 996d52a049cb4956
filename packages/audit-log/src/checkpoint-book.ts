import { type Checkpoint, type CheckpointShard, checkpointHash, readCheckpoint } from "./checkpoint.ts";

/** How far a checkpoint says that a chain went. */
export interface Milestone extends CheckpointShard {
  readonly number: number;
  readonly time: string;
}

/** Checkpoints as they were kept: what they prove, and what is wrong with them themselves. */
export class CheckpointBook {
  /** The first and the last that were read; undefined: none. */
  first: Checkpoint | undefined;
  last: Checkpoint | undefined;
  /** What was changed or is missing among the lines themselves. */
  readonly problems: string[] = [];
  readonly #milestones = new Map<string, Map<number, Milestone>>();
  readonly #publicKey: string;
  #lastHash = "";
  #lines = 0;

  /** @param publicKey PEM */
  constructor(publicKey: string) {
    this.#publicKey = publicKey;
  }

  /**
   * Takes the next line of a file. `isLate`: written after the log was read, so it proves nothing of the rows that were
   * read, only that the checkpoints go on.
   */
  add(line: string, isLate = false): void {
    this.#lines += 1;
    const read = readCheckpoint(line, this.#publicKey);
    const before = this.last;
    if (read === undefined) {
      this.problems.push(
        `line ${this.#lines} of the checkpoints, after #${before?.number ?? 0}, is not signed by the key`,
      );
      return;
    }
    if (before !== undefined) this.#compare(before, read);
    this.first ??= read;
    this.last = read;
    this.#lastHash = checkpointHash(line);
    if (isLate) return;
    for (const [shard, { seq, mac }] of Object.entries(read.shards)) {
      const own = this.#milestones.get(shard) ?? new Map<number, Milestone>();
      this.#milestones.set(shard, own);
      // Of several that say the same the first is the stronger; of two that contradict each other both are wanted.
      const known = own.get(seq);
      if (known === undefined) own.set(seq, { seq, mac, number: read.number, time: read.time });
      else if (known.mac !== mac)
        this.problems.push(`#${known.number} and #${read.number} contradict each other about ${shard}`);
    }
  }

  #compare(before: Checkpoint, read: Checkpoint): void {
    if (read.number > before.number + 1) {
      this.problems.push(`checkpoints #${before.number + 1} to #${read.number - 1} are missing`);
    } else if (read.number !== before.number + 1) {
      this.problems.push(`checkpoint #${read.number} stands after #${before.number}`);
    } else if (read.previous !== this.#lastHash) {
      this.problems.push(`checkpoint #${read.number} does not follow from the #${before.number} that stands before it`);
    }
  }

  /** The chains that checkpoints speak of. */
  get shards(): Iterable<string> {
    return this.#milestones.keys();
  }

  /** What is said of an event; undefined: nothing. */
  at(shard: string, seq: number): Milestone | undefined {
    return this.#milestones.get(shard)?.get(seq);
  }

  /** The furthest that a chain is known to have gone; undefined: nothing is said of it. */
  furthest(shard: string): Milestone | undefined {
    let furthest: Milestone | undefined;
    for (const milestone of this.#milestones.get(shard)?.values() ?? []) {
      if (furthest === undefined || milestone.seq > furthest.seq) furthest = milestone;
    }
    return furthest;
  }

  /** Up to where a chain was removed when its time was over; undefined: it begins at 1. */
  removed(shard: string): CheckpointShard | undefined {
    return this.last?.removed?.[shard];
  }
}
