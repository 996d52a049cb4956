import type { Socket } from "node:net";
import { latin1 } from "./latin1.ts";
import type { ResponseHead } from "./response-head.ts";

/** What of a response depends on the request it answers. */
export interface ResponseContext {
  requestId: string;
  isHead: boolean;
  isHttp10: boolean;
  keepAlive: boolean;
}

/** Up to here head and body are joined to one text, which node writes with one copy; above it, buffers are cheaper. */
const JOIN_BYTES = 16_000;

let date = "";
let dateSecond = 0;

function dateLine(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    date = `date: ${new Date(second * 1000).toUTCString()}\r\n`;
  }
  return date;
}

/** Writes one response to a client's socket, in as few writes as its parts allow. */
export class ResponseWriter {
  readonly #socket: Socket;
  #pending = "";
  #isChunked = false;
  /** Whether anything of the final response was handed over. */
  isStarted = false;
  /** Whether the connection can serve another request afterwards. */
  keepAlive = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Takes the service's head. */
  start(head: ResponseHead, context: ResponseContext): void {
    this.isStarted = true;
    const { status } = head;
    const hasBody = !context.isHead && status !== 204 && status !== 304;
    const isOpenEnded = hasBody && head.contentLength < 0;
    this.#isChunked = isOpenEnded && !context.isHttp10;
    this.keepAlive = context.keepAlive && (!isOpenEnded || this.#isChunked);
    let text = `HTTP/1.1 ${head.statusText}\r\n${head.lines}x-request-id: ${context.requestId}\r\n`;
    if (!head.hasDate) text += dateLine();
    if (this.#isChunked || (head.chunked && context.isHead && !context.isHttp10)) {
      text += "transfer-encoding: chunked\r\n";
    }
    if (!this.keepAlive) text += "connection: close\r\n";
    else if (context.isHttp10) text += "connection: keep-alive\r\n";
    this.#pending = `${text}\r\n`;
  }

  /** Takes a part of the body; the bytes are copied. */
  body(bytes: Buffer, start: number, end: number): void {
    const size = end - start;
    if (this.#pending.length + size > JOIN_BYTES) {
      this.#writeBuffer(bytes, start, end);
      return;
    }
    const text = latin1(bytes, start, end);
    this.#pending += this.#isChunked ? `${size.toString(16)}\r\n${text}\r\n` : text;
  }

  #writeBuffer(bytes: Buffer, start: number, end: number): void {
    const socket = this.#socket;
    const copy = Buffer.from(bytes.subarray(start, end));
    const before = this.#isChunked ? `${this.#pending}${copy.length.toString(16)}\r\n` : this.#pending;
    this.#pending = this.#isChunked ? "\r\n" : "";
    if (before === "") {
      socket.write(copy);
      return;
    }
    socket.cork();
    socket.write(before, "latin1");
    socket.write(copy);
    socket.uncork();
  }

  /** Ends the body. */
  end(): void {
    if (this.#isChunked) this.#pending += "0\r\n\r\n";
    this.flush();
  }

  /** Writes what is held back. Answers whether the client takes more. */
  flush(): boolean {
    if (this.#pending !== "") {
      const text = this.#pending;
      this.#pending = "";
      this.#socket.write(text, "latin1");
    }
    return !this.#socket.writableNeedDrain;
  }
}
