import { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { RequestHead } from "./request-head.ts";

/**
 * A request as node:http parsed it. node:http reads a few fields through `headers` before any handler runs; building
 * its full object would cost more than all the rest of the proxy, so `headers` shows those few only.
 */
export class ProxyRequest extends IncomingMessage {
  #head: RequestHead | null = null;

  /** Its fields, read on first use. */
  get head(): RequestHead {
    this.#head ??= new RequestHead(this.rawHeaders);
    return this.#head;
  }
}

Object.defineProperty(ProxyRequest.prototype, "headers", {
  get(this: ProxyRequest) {
    return this.head.nodeFields;
  },
});

/** The parts of a response that node:http works with; not, or not writable, in its published types. */
interface ResponseEnding {
  socket: Socket | null;
  _last: boolean;
  finished: boolean;
  _onPendingData(delta: number): void;
}

/** Where node:http notes the response whose turn it is. */
interface AssignedSocket extends Socket {
  _httpMessage?: ProxyResponse | null;
}

/** What a request that waits for its turn weighs, so that node:http stops reading from clients that pipeline many. */
const QUEUED_REQUEST_BYTES = 4096;

/**
 * A response whose bytes the proxy writes to the socket itself. node:http keeps what it is good at: one response at a
 * time on a connection, the order of pipelined ones, and reading the next request.
 */
export class ProxyResponse extends ServerResponse<ProxyRequest> {
  #onTurn: (() => unknown) | null = null;

  /** Calls back, not before the caller has returned, when all earlier responses of the connection have ended. */
  awaitTurn(callback: () => unknown): void {
    this.#onTurn = callback;
    (this as unknown as ResponseEnding)._onPendingData(QUEUED_REQUEST_BYTES);
  }

  // As node:http does it, without a listener per response: ClientConnection hears of closed sockets.
  override assignSocket(socket: Socket): void {
    (socket as AssignedSocket)._httpMessage = this;
    (this as unknown as ResponseEnding).socket = socket;
    const callback = this.#onTurn;
    if (callback === null) return;
    this.#onTurn = null;
    (this as unknown as ResponseEnding)._onPendingData(-QUEUED_REQUEST_BYTES);
    process.nextTick(callback);
  }

  override detachSocket(socket: Socket): void {
    (socket as AssignedSocket)._httpMessage = null;
    (this as unknown as ResponseEnding).socket = null;
  }

  /** Says that all bytes are written; the connection goes on with the next request, or is closed after them. */
  noteFinished(keepAlive: boolean): void {
    const ending = this as unknown as ResponseEnding;
    ending._last = !keepAlive;
    ending.finished = true;
    this.emit("finish");
  }
}
