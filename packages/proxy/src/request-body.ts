import type { Readable } from "node:stream";
import { latin1 } from "./latin1.ts";
import type { UpstreamConnection } from "./upstream-connection.ts";

/** Bodies up to this size are kept until the response, so that they can be sent again. */
const KEPT_BODY_BYTES = 65_536;

/** Up to here head and body are joined to one text. */
const JOIN_BYTES = 16_000;

/** Who is told how a body gets on. */
export interface BodyObserver {
  /** Some of it was written, or is awaited. */
  onBodyProgress(): void;
  /** All of it was written. */
  onBodySent(): void;
  /** It is larger than allowed. */
  onBodyTooLarge(): void;
}

/** What of a body is known beforehand. */
export interface BodyOptions {
  /** -1: chunked. */
  contentLength: number;
  maxBytes: number;
}

/** Carries a request's body to a connection, keeping small ones for another attempt; memory stays flat for large ones. */
export class RequestBody {
  readonly #request: Readable;
  readonly #observer: BodyObserver;
  readonly #contentLength: number;
  readonly #maxBytes: number;
  readonly #onData = (chunk: Buffer) => this.#takeChunk(chunk);
  readonly #onEnd = () => this.#takeEnd();
  #kept: Buffer[] = [];
  #received = 0;
  #connection: UpstreamConnection | null = null;
  #head = "";
  #isStarted = false;
  /** All of it has come from the client. */
  isComplete = false;
  /** All of it is still here, or nothing was sent yet. */
  isKept = true;
  /** Whether a byte of head or body was written to the present connection. */
  hasSent = false;

  constructor(request: Readable, observer: BodyObserver, options: BodyOptions) {
    this.#request = request;
    this.#observer = observer;
    this.#contentLength = options.contentLength;
    this.#maxBytes = options.maxBytes;
  }

  /** Begins to read from the client. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#request.on("data", this.#onData);
    this.#request.on("end", this.#onEnd);
  }

  /** Whether it waits for the service to take what was written. */
  get waitsForService(): boolean {
    return this.#request.isPaused();
  }

  /**
   * Sends head and body on a connection. The head waits for the first part of the body, which mostly has arrived with
   * it, unless the client waits for the service to agree (`Expect: 100-continue`).
   */
  attach(connection: UpstreamConnection, head: string, sendsHeadAlone: boolean): void {
    this.#connection = connection;
    this.#head = head;
    this.hasSent = false;
    if (this.isComplete || this.#kept.length > 0) this.#sendKept(connection);
    else if (sendsHeadAlone) this.#writeHead(connection);
    if (this.isComplete) this.#observer.onBodySent();
    else if (this.#isStarted && !connection.socket.writableNeedDrain) this.#request.resume();
  }

  /** The connection failed; what is kept waits for the next one. */
  detach(): void {
    this.#connection = null;
    this.hasSent = false;
  }

  /** Nobody wants the rest: it is read and dropped. */
  drop(): void {
    this.#connection = null;
    this.#kept = [];
    this.#request.off("data", this.#onData);
    this.#request.off("end", this.#onEnd);
    this.#request.resume();
  }

  /** The connection takes more. */
  onDrain(): void {
    if (this.#isStarted) this.#request.resume();
  }

  #takeChunk(chunk: Buffer): void {
    this.#received += chunk.length;
    if (this.#received > this.#maxBytes) {
      this.#observer.onBodyTooLarge();
      return;
    }
    const isLast = this.#received === this.#contentLength;
    if (isLast) this.isComplete = true;
    if (this.isKept && this.#received <= KEPT_BODY_BYTES) this.#kept.push(chunk);
    else if (this.hasSent) this.#giveUpKeeping();
    else this.#kept.push(chunk);
    this.#pass(chunk);
  }

  #giveUpKeeping(): void {
    this.isKept = false;
    this.#kept = [];
  }

  #pass(chunk: Buffer): void {
    const connection = this.#connection;
    if (connection === null) {
      if (this.#received > KEPT_BODY_BYTES) this.#request.pause();
      return;
    }
    if (!this.hasSent) this.#sendKept(connection);
    else this.#writeChunk(connection, chunk);
    if (this.isComplete) this.#observer.onBodySent();
    else this.#observer.onBodyProgress();
  }

  #takeEnd(): void {
    if (this.isComplete) return;
    this.isComplete = true;
    const connection = this.#connection;
    if (connection === null) return;
    if (!this.hasSent) this.#sendKept(connection);
    else if (this.#contentLength < 0) connection.socket.write("0\r\n\r\n", "latin1");
    this.#observer.onBodySent();
  }

  #writeHead(connection: UpstreamConnection): void {
    this.hasSent = true;
    connection.socket.write(this.#head, "latin1");
  }

  #sendKept(connection: UpstreamConnection): void {
    const { socket } = connection;
    this.hasSent = true;
    const isChunked = this.#contentLength < 0;
    const ending = isChunked && this.isComplete ? "0\r\n\r\n" : "";
    if (this.#received <= JOIN_BYTES) {
      let text = this.#head;
      for (const chunk of this.#kept) {
        const part = latin1(chunk, 0, chunk.length);
        text += isChunked ? `${chunk.length.toString(16)}\r\n${part}\r\n` : part;
      }
      socket.write(text + ending, "latin1");
      return;
    }
    socket.cork();
    socket.write(this.#head, "latin1");
    for (const chunk of this.#kept) this.#writeChunk(connection, chunk);
    if (ending !== "") socket.write(ending, "latin1");
    socket.uncork();
    if (this.#received > KEPT_BODY_BYTES) this.#giveUpKeeping();
  }

  #writeChunk({ socket }: UpstreamConnection, chunk: Buffer): void {
    if (this.#contentLength < 0) {
      socket.cork();
      socket.write(`${chunk.length.toString(16)}\r\n`, "latin1");
      socket.write(chunk);
      socket.write("\r\n", "latin1");
      socket.uncork();
    } else {
      socket.write(chunk);
    }
    if (socket.writableNeedDrain) this.#request.pause();
  }
}
