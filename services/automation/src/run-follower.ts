import type { Durable, RunProgress } from "@hms/durable";
import { ChangeSignal, HmsError } from "@hms/kernel";

const LOOK_EVERY_MS = 200;
/** A database that is away for longer is told of. */
const PATIENCE_MS = 10_000;

interface Followed {
  readonly changed: ChangeSignal;
  progress: RunProgress | undefined;
  followers: number;
}

/** One who follows a run; disposing it ends that, and what is waited for still. */
export interface RunFollow extends Disposable {
  /**
   * How far the run has come, as soon as that is other than `known` (default: as soon as it is known); undefined if it is gone.
   * It waits until then: ask again only when it has answered.
   * @throws the signal's reason, or HmsError UNAVAILABLE if the database has been away for 10 s.
   */
  next(signal: AbortSignal, known?: RunProgress): Promise<RunProgress | undefined>;
}

/** Follows runs for whoever watches them: one look each 200 ms for all of them, and none while nobody watches. */
export class RunFollower implements AsyncDisposable {
  readonly #durable: Pick<Durable, "progress">;
  readonly #followed = new Map<string, Followed>();
  #looking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failing: { since: number; error: HmsError } | undefined;
  #isClosed = false;

  constructor(durable: Pick<Durable, "progress">) {
    this.#durable = durable;
  }

  /** Follows a run from now on. */
  follow(runId: string): RunFollow {
    const followed = this.#followed.get(runId) ?? { changed: new ChangeSignal(), progress: undefined, followers: 0 };
    this.#followed.set(runId, followed);
    followed.followers += 1;
    // What was seen before somebody came may be old.
    if (followed.followers === 1) followed.progress = undefined;
    this.#schedule(0);
    const end = new AbortController();
    return {
      next: (signal, known) => this.#next(followed, AbortSignal.any([signal, end.signal]), known),
      [Symbol.dispose]: () => {
        end.abort();
        followed.followers -= 1;
        if (followed.followers === 0) this.#followed.delete(runId);
      },
    };
  }

  async #next(followed: Followed, signal: AbortSignal, known: RunProgress | undefined) {
    for (;;) {
      const { progress } = followed;
      if (progress !== undefined && !isSame(progress, known)) return progress;
      if (this.#failing && performance.now() - this.#failing.since > PATIENCE_MS) throw this.#failing.error;
      await followed.changed.next(signal, 1000);
    }
  }

  #schedule(ms: number): void {
    if (this.#timer !== undefined || this.#looking !== undefined || this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#looking = this.#look().finally(() => {
        this.#looking = undefined;
        if (this.#followed.size > 0) this.#schedule(LOOK_EVERY_MS);
      });
    }, ms);
  }

  async #look(): Promise<void> {
    try {
      for (const progress of await this.#durable.progress([...this.#followed.keys()])) {
        const followed = this.#followed.get(progress.id);
        if (followed === undefined || isSame(progress, followed.progress)) continue;
        followed.progress = progress;
        followed.changed.notify();
      }
      this.#failing = undefined;
    } catch (error) {
      this.#failing ??= { since: performance.now(), error: HmsError.from(error) };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }
}

/** Whether nothing has happened between two looks. */
function isSame(one: RunProgress, other: RunProgress | undefined): boolean {
  return (
    other !== undefined &&
    one.lastSeq === other.lastSeq &&
    one.hasEnded === other.hasEnded &&
    JSON.stringify(one.running) === JSON.stringify(other.running)
  );
}
