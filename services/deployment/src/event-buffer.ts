import type { JsonObject } from "@bufbuild/protobuf";

const GATHER_MS = 150;
const MOST_AT_ONCE = 200;
/** A build that writes without end fills no database. */
const MOST_OF_A_STEP = 5000;

/** Gathers what a step says and passes it on in groups, in order; what comes too thick is counted, not kept. */
export class EventBuffer {
  readonly #write: (events: JsonObject[]) => Promise<void>;
  #waiting: JsonObject[] = [];
  /** What is being written, or has to be again. */
  #group: JsonObject[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #taken = 0;

  /** `write` is called with one group at a time. */
  constructor(write: (events: JsonObject[]) => Promise<void>) {
    this.#write = write;
  }

  /** Adds an event. */
  add(event: JsonObject): void {
    this.#taken += 1;
    if (this.#taken > MOST_OF_A_STEP) return;
    this.#waiting.push(event);
    // The failure of a write shows in flush().
    this.#timer ??= setTimeout(() => void this.#pass().catch(() => {}), GATHER_MS).unref();
  }

  /** Resolves when everything has been written; a new step begins then. @throws what the writing threw. */
  async flush(): Promise<void> {
    await this.#pass();
    this.#taken = 0;
  }

  #pass(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // Whoever waited for an earlier write has heard of its failure; what it did not write comes first now.
    this.#writing = this.#writing
      .catch(() => {})
      .then(async () => {
        while (this.#group.length > 0 || this.#waiting.length > 0) {
          // The same group again: it may have been written although that was not heard.
          if (this.#group.length === 0) this.#group = this.#waiting.splice(0, MOST_AT_ONCE);
          await this.#write(this.#group);
          this.#group = [];
        }
      });
    return this.#writing;
  }
}
