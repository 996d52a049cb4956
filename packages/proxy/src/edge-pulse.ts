import { connect } from "node:net";

/** What a pulse watches. */
export interface EdgePulseOptions {
  readonly socketPath: string;
  /** Whether requests wait there: only then there is anything to find out. */
  readonly isWaiting: () => boolean;
  /** It is there and does not react. */
  readonly silent: () => void;
  /** How often it is looked, and how long a sign of life is waited for; default 2.5 s and 10 s. */
  readonly everyMs?: number;
  readonly patienceMs?: number;
}

/** Any answer will do, a refusal too. */
const QUESTION = "HEAD / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/**
 * Finds out that a server is there but does not react, as one that was stopped: calls may take for ever, so only a second
 * connection tells. A server that has gone is no matter of this: its connections end by themselves.
 */
export class EdgePulse {
  readonly #options: EdgePulseOptions;
  readonly #timer: NodeJS.Timeout;
  #isAsking = false;

  constructor(options: EdgePulseOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#look(), options.everyMs ?? 2500).unref();
  }

  #look(): void {
    if (this.#isAsking || !this.#options.isWaiting()) return;
    this.#isAsking = true;
    const socket = connect(this.#options.socketPath);
    socket.unref();
    const done = () => {
      this.#isAsking = false;
      clearTimeout(patience);
      socket.destroy();
    };
    // What came in while this process itself stood still is read before it is judged.
    const judge = () => setImmediate(() => this.#isAsking && this.#fallSilent(done));
    const patience = setTimeout(judge, this.#options.patienceMs ?? 10_000).unref();
    socket.once("connect", () => socket.write(QUESTION));
    for (const sign of ["data", "error", "close"]) socket.once(sign, done);
  }

  #fallSilent(done: () => void): void {
    done();
    this.#options.silent();
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
