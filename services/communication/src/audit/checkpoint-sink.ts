import { HmsError } from "@hms/kernel";

/** What a sink needs. */
export interface CheckpointSinkOptions {
  /** Takes a POST with one checkpoint each; any 2xx says that it is kept. */
  readonly url: string;
  /** Remembers that everything up to a checkpoint was taken. */
  readonly sent: (number: number) => Promise<void>;
  readonly failed: (error: HmsError) => void;
}

const TIMEOUT_MS = 10_000;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** Sends checkpoints away from this machine, in their order, each until it is taken. */
export class CheckpointSink {
  readonly #options: CheckpointSinkOptions;
  readonly #waiting: { number: number; line: string }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  #pauseMs = FIRST_PAUSE_MS;

  constructor(options: CheckpointSinkOptions) {
    this.#options = options;
  }

  /** Where it sends to, without what may be secret in it. */
  get place(): string {
    const { origin, pathname } = new URL(this.#options.url);
    return `${origin}${pathname}`;
  }

  /** How many have not been taken. */
  get behind(): number {
    return this.#waiting.length;
  }

  offer(number: number, line: string): void {
    this.#waiting.push({ number, line });
    if (this.#timer === undefined) this.#send();
  }

  #send(): void {
    this.#sending ??= this.#sendAll().finally(() => {
      this.#sending = undefined;
    });
  }

  async #sendAll(): Promise<void> {
    const { sent, failed } = this.#options;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      try {
        await this.#post(next.line);
        await sent(next.number);
        this.#waiting.shift();
        this.#pauseMs = FIRST_PAUSE_MS;
      } catch (error) {
        if (this.#pauseMs === FIRST_PAUSE_MS) failed(HmsError.from(error));
        this.#timer = setTimeout(() => {
          this.#timer = undefined;
          this.#send();
        }, this.#pauseMs).unref();
        this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
        return;
      }
    }
  }

  async #post(line: string): Promise<void> {
    const { url } = this.#options;
    const headers = { "content-type": "application/jose" };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const { ok, status } = await fetch(url, { method: "POST", body: line, headers, signal, redirect: "error" }).catch(
      (cause: unknown) => {
        throw new HmsError("UNAVAILABLE", `The audit sink ${this.place} cannot be reached; checkpoints wait.`, {
          cause,
        });
      },
    );
    if (ok) return;
    throw new HmsError("UNAVAILABLE", `The audit sink ${this.place} answered ${status}; checkpoints wait.`);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#sending;
    clearTimeout(this.#timer);
  }
}
