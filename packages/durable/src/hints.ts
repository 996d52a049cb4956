import { randomUUID } from "node:crypto";
import type { RunDatabase } from "./run-database.ts";

/** What other processes are told: there may be something to claim, or runs may have been told to stop. */
export type Hint = "ready" | "stop";

const INTERVAL_MS = 20;

/**
 * Tells other processes to look, at most 50 times a second and outside of any transaction. A hint may get lost: whoever
 * hears none looks by itself.
 */
export class Hints implements AsyncDisposable {
  readonly #database: RunDatabase;
  readonly #id = randomUUID();
  readonly #waiting = new Set<Hint>();
  readonly #heard: (hint: Hint) => void;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  #listening: Promise<AsyncDisposable> | undefined;

  constructor(database: RunDatabase, heard: (hint: Hint) => void) {
    this.#database = database;
    this.#heard = heard;
  }

  /** Hears hints of other processes from now on, if the database lets us. */
  listen(): void {
    this.#listening ??= this.#database.listen("hint", (told) => {
      const [payload, sender] = (told ?? "").split(" ");
      // This process has told itself already.
      if (sender === this.#id) return;
      if (payload !== "stop") this.#heard("ready");
      if (payload !== "ready") this.#heard("stop");
    });
    this.#listening.catch(() => {
      this.#listening = undefined;
    });
  }

  send(hint: Hint): void {
    this.#waiting.add(hint);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#sending = this.#send();
    }, INTERVAL_MS);
  }

  async #send(): Promise<void> {
    const hints = [...this.#waiting];
    this.#waiting.clear();
    for (const hint of hints) await this.#database.notify("hint", `${hint} ${this.#id}`).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    await this.#sending;
    await (await this.#listening?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }
}
