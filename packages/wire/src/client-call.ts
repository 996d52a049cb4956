import type { DescMethod } from "@bufbuild/protobuf";
import { type CallOptions, HmsError } from "@hms/kernel";
import type { InboundMessages } from "./inbound-messages.ts";
import type { MessageCodec } from "./message-codec.ts";
import { SendCredit } from "./send-credit.ts";

/** A call that waits for its answer. */
export interface ClientCall {
  readonly stream: number;
  readonly deadlineAt: number | undefined;
  /** Is called once when the call has ended, however it did. */
  settled?: (() => void) | undefined;
  /** A Response frame without an error. */
  answer(payload: Uint8Array): void;
  /** A Data frame. */
  data(payload: Uint8Array): void;
  /** The stream's last Data frame has come. */
  end(): void;
  /** The call has failed. */
  fail(error: HmsError): void;
  /** The peer takes more. */
  grant(bytes: number): void;
  /** Hears what the handler says beside its answers; undefined: nobody asks. */
  readonly onMetadata: OnMetadata;
}

/** Who hears what a handler says beside its answers. */
type OnMetadata = CallOptions["onMetadata"];

const wrongKind = (method: DescMethod) =>
  new HmsError("INTERNAL", `${method.parent.typeName}/${method.name} answered with a stream; one answer was expected.`);

/** A unary call. */
export class UnaryCall implements ClientCall {
  readonly stream: number;
  readonly deadlineAt: number | undefined;
  settled: (() => void) | undefined;
  readonly onMetadata: OnMetadata;
  readonly #method: DescMethod;
  readonly #settle: UnaryWaiter;

  constructor(stream: number, method: DescMethod, waiter: UnaryWaiter) {
    this.stream = stream;
    this.#method = method;
    this.#settle = waiter;
    this.deadlineAt = waiter.deadlineAt;
    this.onMetadata = waiter.onMetadata;
  }

  answer(payload: Uint8Array): void {
    try {
      const { codec, readAnswer, resolve } = this.#settle;
      resolve(codec.decodeAnswer(this.#method, payload, readAnswer));
    } catch (error) {
      this.#settle.reject(HmsError.from(error));
    }
  }

  data(): void {
    this.fail(wrongKind(this.#method));
  }

  end(): void {
    this.fail(wrongKind(this.#method));
  }

  fail(error: HmsError): void {
    this.#settle.reject(error);
  }

  grant(): void {}
}

/** Who waits for a unary call. */
export interface UnaryWaiter {
  readonly codec: MessageCodec;
  readonly deadlineAt: number | undefined;
  readonly onMetadata: OnMetadata;
  readonly readAnswer: CallOptions["readAnswer"];
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: HmsError) => void;
}

/** A call with a stream in one direction at least. */
export class StreamCall implements ClientCall {
  readonly stream: number;
  readonly deadlineAt: number | undefined;
  readonly inbound: InboundMessages;
  readonly credit: SendCredit;
  settled: (() => void) | undefined;
  /** True once nothing more comes and nothing may be sent. */
  finished = false;
  readonly onMetadata: OnMetadata;
  readonly #method: DescMethod;

  constructor(stream: number, method: DescMethod, flow: StreamFlow) {
    this.stream = stream;
    this.#method = method;
    this.inbound = flow.inbound;
    this.credit = new SendCredit(flow.window);
    this.deadlineAt = flow.deadlineAt;
    this.onMetadata = flow.onMetadata;
  }

  answer(payload: Uint8Array): void {
    // A Response may carry a stream's last message; only for a single answer is an empty one a message too.
    if (payload.length > 0 || this.#method.methodKind === "client_streaming") this.inbound.push(payload);
    this.end();
  }

  data(payload: Uint8Array): void {
    this.inbound.push(payload);
  }

  end(): void {
    this.#finish(undefined);
  }

  fail(error: HmsError): void {
    this.#finish(error);
  }

  #finish(error: HmsError | undefined): void {
    this.finished = true;
    this.inbound.end(error);
    this.credit.release();
  }

  grant(bytes: number): void {
    this.credit.add(bytes);
  }
}

/** What a stream is read into, and what it may send. */
export interface StreamFlow {
  readonly inbound: InboundMessages;
  /** The peer's window, if it is known and there is one. */
  readonly window: number | undefined;
  readonly deadlineAt: number | undefined;
  readonly onMetadata: OnMetadata;
}
