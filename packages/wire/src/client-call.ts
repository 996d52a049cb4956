import { type DescMethod, fromBinary } from "@bufbuild/protobuf";
import { HmsError } from "@hms/kernel";
import type { InboundMessages } from "./inbound-messages.ts";
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
}

/** Decodes a message of a method's answer. @throws HmsError INTERNAL if the peer's contract differs */
export function decodeAnswer(method: DescMethod, payload: Uint8Array): unknown {
  try {
    return fromBinary(method.output, payload);
  } catch (cause) {
    throw new HmsError(
      "INTERNAL",
      `The answer of ${method.parent.typeName}/${method.name} is no ${method.output.typeName}: the two sides have different versions. Update the older one.`,
      { cause },
    );
  }
}

const wrongKind = (method: DescMethod) =>
  new HmsError("INTERNAL", `${method.parent.typeName}/${method.name} answered with a stream; one answer was expected.`);

/** A unary call. */
export class UnaryCall implements ClientCall {
  readonly stream: number;
  readonly deadlineAt: number | undefined;
  settled: (() => void) | undefined;
  readonly #method: DescMethod;
  readonly #settle: { resolve: (value: unknown) => void; reject: (error: HmsError) => void };

  constructor(stream: number, method: DescMethod, waiter: UnaryWaiter) {
    this.stream = stream;
    this.#method = method;
    this.#settle = waiter;
    this.deadlineAt = waiter.deadlineAt;
  }

  answer(payload: Uint8Array): void {
    try {
      this.#settle.resolve(decodeAnswer(this.#method, payload));
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
  readonly deadlineAt: number | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: HmsError) => void;
}

/** A call with a stream in one direction at least. */
export class StreamCall implements ClientCall {
  readonly stream: number;
  readonly deadlineAt: number | undefined;
  settled: (() => void) | undefined;
  readonly inbound: InboundMessages;
  readonly credit = new SendCredit();
  /** True once nothing more comes and nothing may be sent. */
  finished = false;
  readonly #method: DescMethod;

  constructor(stream: number, method: DescMethod, rest: { inbound: InboundMessages; deadlineAt: number | undefined }) {
    this.stream = stream;
    this.#method = method;
    this.inbound = rest.inbound;
    this.deadlineAt = rest.deadlineAt;
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
    this.finished = true;
    this.inbound.end();
    this.credit.release();
  }

  fail(error: HmsError): void {
    this.finished = true;
    this.inbound.end(error);
    this.credit.release();
  }

  grant(bytes: number): void {
    this.credit.add(bytes);
  }
}
