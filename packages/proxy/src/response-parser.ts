import { ChunkedDecoder } from "./chunked-decoder.ts";
import { INCOMPLETE, MALFORMED, parseResponseHead, ResponseHead } from "./response-head.ts";

/** What a parser tells; every call comes from inside `execute` or `finish`. */
export interface ResponseSink {
  /** An interim response (1xx without 101). */
  onInformational(head: ResponseHead): void;
  onResponseHead(head: ResponseHead): void;
  /** A part of the body; the bytes are only valid during the call. */
  onResponseBody(bytes: Buffer, start: number, end: number): void;
  onResponseEnd(): void;
}

/** Why bytes are not a response. */
export type ParseFailure = "malformed response head" | "response head too large" | "malformed chunked body";

const State = { IDLE: 0, HEAD: 1, LENGTH: 2, CHUNKED: 3, UNTIL_CLOSE: 4, TUNNEL: 5 } as const;

const CRLFCRLF = Buffer.from("\r\n\r\n");

/** Reads the responses of one connection, one after the other, from bytes split anywhere (RFC 9112, client side). */
export class ResponseParser {
  readonly head = new ResponseHead();
  readonly #sink: ResponseSink;
  readonly #maxHeadBytes: number;
  readonly #chunked = new ChunkedDecoder();
  readonly #span = { start: 0, end: 0 };
  #state: number = State.IDLE;
  #isHeadRequest = false;
  #remaining = 0;
  #partial: Buffer | null = null;

  constructor(sink: ResponseSink, maxHeadBytes: number) {
    this.#sink = sink;
    this.#maxHeadBytes = maxHeadBytes;
  }

  /** Expects the response to a request that was just sent. */
  expect(method: string): void {
    this.#state = State.HEAD;
    this.#isHeadRequest = method === "HEAD";
    this.#partial = null;
  }

  /** Whether no response is expected or running. */
  get isIdle(): boolean {
    return this.#state === State.IDLE;
  }

  /** Whether a body runs whose end is the end of the connection. */
  get endsWithConnection(): boolean {
    return this.#state === State.UNTIL_CLOSE;
  }

  /** The rest of the connection's bytes, after a 101, belongs to whoever upgraded. */
  get isTunnel(): boolean {
    return this.#state === State.TUNNEL;
  }

  /**
   * Takes what arrived. Answers with how far it read (less than `end` only if bytes follow the response), or why it
   * gave up.
   */
  execute(bytes: Buffer, start: number, end: number): number | ParseFailure {
    let position = start;
    while (position < end) {
      switch (this.#state) {
        case State.HEAD: {
          const next = this.#readHead(bytes, position, end);
          if (typeof next !== "number") return next;
          position = next;
          break;
        }
        case State.LENGTH:
          position = this.#readLength(bytes, position, end);
          break;
        case State.CHUNKED: {
          const next = this.#chunked.decode(bytes, { start: position, end }, this.#sink);
          if (next < 0) return "malformed chunked body";
          position = next;
          if (this.#chunked.isComplete) this.#complete();
          break;
        }
        case State.UNTIL_CLOSE:
          this.#sink.onResponseBody(bytes, position, end);
          return end;
        default:
          return position;
      }
    }
    return position;
  }

  /** The connection has ended. Answers whether that ended the response properly. */
  finish(): boolean {
    if (this.#state === State.IDLE) return true;
    if (this.#state !== State.UNTIL_CLOSE) return false;
    this.#complete();
    return true;
  }

  #complete(): void {
    this.#state = State.IDLE;
    this.#sink.onResponseEnd();
  }

  #readLength(bytes: Buffer, start: number, end: number): number {
    const take = Math.min(end - start, this.#remaining);
    this.#remaining -= take;
    this.#sink.onResponseBody(bytes, start, start + take);
    if (this.#remaining === 0 && this.#state === State.LENGTH) this.#complete();
    return start + take;
  }

  #readHead(bytes: Buffer, start: number, end: number): number | ParseFailure {
    if (this.#partial !== null) return this.#continueHead(this.#partial, bytes.subarray(start, end), start);
    this.#span.start = start;
    this.#span.end = end;
    const next = parseResponseHead(bytes, this.#span, this.head);
    if (next >= 0) {
      this.#dispatchHead();
      return next;
    }
    if (next === MALFORMED) return "malformed response head";
    if (end - start > this.#maxHeadBytes) return "response head too large";
    this.#partial = Buffer.from(bytes.subarray(start, end));
    return end;
  }

  // Parses only when the end of the head has come, so that many small pieces stay cheap.
  #continueHead(partial: Buffer, fresh: Buffer, start: number): number | ParseFailure {
    const joined = Buffer.concat([partial, fresh]);
    const terminator = joined.indexOf(CRLFCRLF, Math.max(partial.length - 3, 0));
    if (terminator < 0) {
      if (joined.length > this.#maxHeadBytes) return "response head too large";
      this.#partial = joined;
      return start + fresh.length;
    }
    this.#partial = null;
    const next = parseResponseHead(joined, { start: 0, end: terminator + 4 }, this.head);
    if (next === MALFORMED || next === INCOMPLETE) return "malformed response head";
    this.#dispatchHead();
    return start + (next - partial.length);
  }

  #dispatchHead(): void {
    const { head } = this;
    const { status } = head;
    if (status === 101) {
      this.#state = State.TUNNEL;
      this.#sink.onResponseHead(head);
      return;
    }
    if (status < 200) {
      this.#sink.onInformational(head);
      return;
    }
    const hasNoBody = this.#isHeadRequest || status === 204 || status === 304;
    if (hasNoBody || (head.contentLength === 0 && !head.chunked)) {
      this.#sink.onResponseHead(head);
      if (this.#state === State.HEAD) this.#complete();
      return;
    }
    if (head.chunked) {
      this.#chunked.reset();
      this.#state = State.CHUNKED;
    } else if (head.contentLength > 0) {
      this.#remaining = head.contentLength;
      this.#state = State.LENGTH;
    } else {
      this.#state = State.UNTIL_CLOSE;
    }
    this.#sink.onResponseHead(head);
  }
}
