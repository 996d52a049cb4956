import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { answerOrEnd, HmsError, outgoingTo } from "@hms/kernel";

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
    const status = await send(this.#options.url, line).catch((cause: unknown) => {
      const why = cause instanceof Error ? ` (${cause.message})` : "";
      throw new HmsError("UNAVAILABLE", `The audit sink ${this.place} cannot be reached; checkpoints wait${why}.`, {
        cause,
      });
    });
    if (status >= 200 && status < 300) return;
    throw new HmsError("UNAVAILABLE", `The audit sink ${this.place} answered ${status}; checkpoints wait.`);
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#sending;
    clearTimeout(this.#timer);
  }
}

/** Sends one checkpoint; follows no redirect. The status of the answer. */
function send(url: string, line: string): Promise<number> {
  const start = url.startsWith("https:") ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const asked = start(url, {
      method: "POST",
      headers: { "content-type": "application/jose", "content-length": String(Buffer.byteLength(line)) },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...outgoingTo(new URL(url).hostname, { by: "operator" }),
    });
    asked.once("error", reject);
    answerOrEnd(asked, reject);
    asked.once("response", (answer) => {
      answer.resume();
      answer.once("end", () => resolve(answer.statusCode ?? 0));
      answer.once("error", reject);
    });
    asked.end(line);
  });
}
