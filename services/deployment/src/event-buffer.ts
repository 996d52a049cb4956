import type { JsonObject } from "@bufbuild/protobuf";

const GATHER_MS = 150;
const MOST_AT_ONCE = 200;
/** A build that writes without end fills no database. */
const MOST_OF_A_STEP = { events: 5000, characters: 4 * 1024 * 1024 };

/** Gathers what a step says and passes it on in groups, in order; of what comes too thick only that it does is kept. */
export class EventBuffer {
  readonly #write: (events: JsonObject[]) => Promise<void>;
  readonly #sayFull: (dropped: JsonObject) => JsonObject;
  #waiting: JsonObject[] = [];
  /** What is being written, or has to be again. */
  #group: JsonObject[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #taken = { events: 0, characters: 0 };
  #isFull = false;

  /** `write` is called with one group at a time; `sayFull` makes the event that takes the place of the first that is left out. */
  constructor(write: (events: JsonObject[]) => Promise<void>, sayFull: (dropped: JsonObject) => JsonObject) {
    this.#write = write;
    this.#sayFull = sayFull;
  }

  /** Adds an event. */
  add(event: JsonObject): void {
    if (this.#isFull) return;
    this.#taken.events += 1;
    this.#taken.characters += JSON.stringify(event).length;
    this.#isFull = this.#taken.events > MOST_OF_A_STEP.events || this.#taken.characters > MOST_OF_A_STEP.characters;
    this.#waiting.push(this.#isFull ? this.#sayFull(event) : event);
    // The failure of a write shows in flush().
    this.#timer ??= setTimeout(() => void this.#pass().catch(() => {}), GATHER_MS).unref();
  }

  /** Resolves when everything has been written; a new step begins then. @throws what the writing threw. */
  async flush(): Promise<void> {
    await this.#pass();
    this.#taken = { events: 0, characters: 0 };
    this.#isFull = false;
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
