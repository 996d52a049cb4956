import type { CallContext, HmsError, IncomingCall, Metadata } from "@hms/kernel";
import type { InboundMessages } from "./inbound-messages.ts";
import type { MessageCodec } from "./message-codec.ts";
import type { SendCredit } from "./send-credit.ts";

/** What a connection knows of whoever calls, the same object for calls with the same metadata. */
export interface CallerFacts {
  readonly caller: IncomingCall["caller"];
  readonly metadata: Metadata | undefined;
}

/** How a call is to be answered. */
export interface ServerTerms {
  /** Relative; undefined: no deadline. */
  readonly timeoutMs: number | undefined;
  readonly codec: MessageCodec;
  /** Sends what is said beside the answers, if the peer takes it. */
  readonly sendHeaders: (stream: number, metadata: Metadata) => void;
}

/** One call being answered: what the kernel is told of it, and the handle that ends it. */
export class ServerCall implements IncomingCall {
  readonly caller: IncomingCall["caller"];
  readonly metadata: Metadata | undefined;
  readonly deadlineAt: number | undefined;
  readonly way = "frames";
  readonly stream: number;
  /** How its messages are encoded, both ways. */
  readonly codec: MessageCodec;
  /** True if a stopping server need not let it finish: a stream that only reads. */
  endless = false;
  /** The caller's messages, for methods that take a stream. */
  inbound: InboundMessages | undefined;
  /** What the peer lets us send, for methods that answer with a stream. */
  credit: SendCredit | undefined;
  /** True if nothing may be sent on the stream any more. */
  finished = false;
  readonly #sendHeaders: ServerTerms["sendHeaders"];
  #context: CallContext | undefined;
  #ended: HmsError | undefined;

  constructor(stream: number, { caller, metadata }: CallerFacts, terms: ServerTerms) {
    this.stream = stream;
    this.caller = caller;
    this.metadata = metadata;
    this.codec = terms.codec;
    this.#sendHeaders = terms.sendHeaders;
    this.deadlineAt = terms.timeoutMs === undefined ? undefined : performance.now() + terms.timeoutMs;
  }

  get takesEncoded(): boolean {
    return this.codec.takesEncoded;
  }

  /** True once the handler has been told to stop. */
  get stopped(): boolean {
    return this.#ended !== undefined;
  }

  /** The kernel's side of the handle. */
  attach(context: CallContext): void {
    this.#context = context;
    if (this.#ended) context.end(this.#ended);
  }

  tell(metadata: Metadata): void {
    if (!this.finished) this.#sendHeaders(this.stream, metadata);
  }

  /** Tells the handler to stop, and why. */
  stop(error: HmsError): void {
    this.#ended ??= error;
    this.#context?.end(this.#ended);
    this.inbound?.end(this.#ended);
    this.credit?.release();
  }

  /** Tells the handler to stop; nobody waits for an answer. */
  abandon(error: HmsError): void {
    this.finished = true;
    this.stop(error);
    this.inbound?.drop();
  }
}
