/** What was taken away: of these principals ("user:ID"), or of everybody. */
export type Revocation = readonly string[] | "everybody";

const MOST_WAITING = 1000;

/** Passes on, to whoever follows, whose credentials stand for less than before. */
export class Revocations {
  readonly #followers = new Set<Follower>();

  /** Tells everybody who follows. */
  tell(revoked: Revocation): void {
    for (const follower of this.#followers) follower.hear(revoked);
  }

  /**
   * What is told from this very moment on, until the signal aborts; undefined after each `quietMs` in which nothing was.
   * Who is slow hears "everybody" instead of all names.
   */
  follow(signal: AbortSignal, quietMs: number): AsyncIterable<Revocation | undefined> {
    const follower = new Follower();
    this.#followers.add(follower);
    const leave = () => {
      this.#followers.delete(follower);
      follower.wake();
    };
    signal.addEventListener("abort", leave, { once: true });
    return read(follower, { signal, quietMs, leave });
  }
}

class Follower {
  #names: string[] = [];
  #isEverybody = false;
  wake: () => void = () => {};

  hear(revoked: Revocation): void {
    if (revoked === "everybody" || this.#names.length + revoked.length > MOST_WAITING) this.#isEverybody = true;
    else this.#names.push(...revoked);
    this.wake();
  }

  /** What was heard since the last time; undefined: nothing. */
  take(): Revocation | undefined {
    const names = this.#names;
    const isEverybody = this.#isEverybody;
    this.#names = [];
    this.#isEverybody = false;
    if (isEverybody) return "everybody";
    return names.length > 0 ? names : undefined;
  }

  /** Waits until something is heard, or for this long. */
  async quiet(quietMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, quietMs);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

async function* read(
  follower: Follower,
  { signal, quietMs, leave }: { signal: AbortSignal; quietMs: number; leave: () => void },
): AsyncGenerator<Revocation | undefined> {
  try {
    while (!signal.aborted) {
      const heard = follower.take();
      if (heard !== undefined) {
        yield heard;
        continue;
      }
      await follower.quiet(quietMs);
      if (signal.aborted) return;
      yield follower.take();
    }
  } finally {
    leave();
  }
}
