import { HmsError } from "./hms-error.ts";
import type { MethodEntry } from "./method-entry.ts";
import type { CallSource, CallTrace, CallWay, Credentials, Policy, ResourceFilter } from "./ports.ts";
import type { Principal } from "./principal.ts";
import { randomId } from "./random-id.ts";

/** Names and values that travel beside a message; names are lower case. */
export type Metadata = Readonly<Record<string, string>>;

const NO_METADATA: Metadata = Object.freeze({});

/** Lets everything through. */
export const everyResource: ResourceFilter = Object.freeze({
  where: { all: [] },
  whereUnplaced: { all: [] },
  allows: () => true,
});

/** Who hears what a handler says beside its answers. */
export interface AnswerMetadataSink {
  /** May be missing: then nobody hears it. */
  tell?(metadata: Metadata): void;
}

/** The most metadata that one call may be answered with, names and values together. */
const MOST_ANSWER_METADATA_BYTES = 64 * 1024;
const METADATA_NAME = /^[a-z0-9][a-z0-9_.-]*$/;

/** What a call context is made of. */
export interface CallContextInit {
  method: MethodEntry;
  principal: Principal;
  /** Absolute, in `performance.now()` milliseconds; undefined: none. */
  deadlineAt?: number | undefined;
  /** The caller's own cancellation. */
  signal?: AbortSignal | undefined;
  metadata?: Metadata | undefined;
  /** True if a transport may end the call through its context. */
  attached?: boolean;
  /** Default: "in-process". */
  way?: CallWay | undefined;
  /** From where it came; default: not known. */
  source?: CallSource | undefined;
  /** Hears what the handler says beside its answers; default: nobody. */
  answerMetadata?: AnswerMetadataSink;
  /** Default false. */
  takesEncoded?: boolean | undefined;
  /** What decides about the call's things; default: everything is allowed. */
  policy?: Policy;
  /** How its credentials came; undefined: from within the process. */
  transport?: Credentials["transport"] | undefined;
}

/**
 * What a handler knows of the call it answers: who asks, until when, with which trace.
 * Signal and ids are made on first use, because most calls need neither.
 */
export class CallContext {
  readonly method: MethodEntry;
  readonly principal: Principal;
  readonly metadata: Metadata;
  /** Absolute, in `performance.now()` milliseconds; undefined: none. */
  readonly deadlineAt: number | undefined;
  /** How the call came in. */
  readonly way: CallWay;
  /** From where it came; undefined: not known. */
  readonly source: CallSource | undefined;
  /** True if answers may be `EncodedMessage`s. */
  readonly takesEncoded: boolean;
  /**
   * The call's span, if it is sampled.
   * @private set by the kernel only
   */
  trace: CallTrace | undefined;
  #outer: AbortSignal | undefined;
  #controller: AbortController | undefined;
  #ended: HmsError | undefined;
  #requestId: string | undefined;
  #changesNothing = false;
  readonly #attached: boolean;
  readonly #policy: Policy | undefined;
  readonly #transport: Credentials["transport"] | undefined;
  readonly #answerMetadata: AnswerMetadataSink | undefined;
  #answerMetadataBytes = 0;

  constructor(init: CallContextInit) {
    this.method = init.method;
    this.principal = init.principal;
    this.metadata = init.metadata ?? NO_METADATA;
    this.deadlineAt = init.deadlineAt;
    this.way = init.way ?? "in-process";
    this.source = init.source;
    this.takesEncoded = init.takesEncoded === true;
    this.#outer = init.signal;
    this.#attached = init.attached === true;
    this.#policy = init.policy;
    this.#transport = init.transport;
    this.#answerMetadata = init.answerMetadata;
  }

  /** Aborts when the caller cancels, the deadline passes, or the call's connection ends; the reason is an HmsError. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      this.#controller = controller;
      if (this.#ended) controller.abort(this.#ended);
      else this.#followOuter(controller);
    }
    return this.#controller.signal;
  }

  #followOuter(controller: AbortController): void {
    const outer = this.#outer;
    if (outer === undefined) return;
    const abort = () => controller.abort(HmsError.from(outer.reason));
    if (outer.aborted) abort();
    else outer.addEventListener("abort", abort, { once: true, signal: controller.signal });
  }

  /** True if the caller can cancel. */
  get cancellable(): boolean {
    return this.#attached || this.#outer !== undefined;
  }

  /**
   * True if the kernel has to watch for the call's end: a transport that ends calls through the context answers its
   * caller itself.
   * @private kernel only
   */
  get guarded(): boolean {
    return this.deadlineAt !== undefined || this.#outer !== undefined;
  }

  /**
   * Which of many things the caller may use by a permission, by default the method's: what a list answers with, and what a
   * call about a thing is asked once more when the thing is known. The operator's is everything.
   */
  filter(permission = this.method.rule.permission): ResourceFilter {
    const { method, principal } = this;
    return this.#policy?.filter?.({ principal, permission, method, transport: this.#transport }) ?? everyResource;
  }

  /** Milliseconds left, never negative; undefined without a deadline. */
  get remainingMs(): number | undefined {
    return this.deadlineAt === undefined ? undefined : Math.max(0, this.deadlineAt - performance.now());
  }

  /** The caller's x-request-id if it is a sane one (1 to 128 visible characters), else a random one. */
  get requestId(): string {
    if (this.#requestId === undefined) {
      const given = this.metadata["x-request-id"];
      this.#requestId = given && /^[\x21-\x7e]{1,128}$/.test(given) ? given : randomId();
    }
    return this.#requestId;
  }

  /** The W3C trace context of this call: its own span's if it is sampled, else the caller's; undefined without any. */
  get traceparent(): string | undefined {
    return this.trace?.traceparent ?? this.metadata.traceparent;
  }

  /**
   * Tells the caller something beside the answers, at once: before the first answer as headers, later as trailers. May be
   * said several times. Callers that do not ask, and stock peers, never see it.
   * @throws HmsError INVALID_ARGUMENT if a name is not lower case, or a call's metadata is more than 64 KiB
   */
  sendMetadata(metadata: Metadata): void {
    for (const [name, value] of Object.entries(metadata)) {
      this.#answerMetadataBytes += Buffer.byteLength(name) + Buffer.byteLength(value);
      if (METADATA_NAME.test(name) && this.#answerMetadataBytes <= MOST_ANSWER_METADATA_BYTES) continue;
      const why = METADATA_NAME.test(name)
        ? `The metadata of an answer may have ${MOST_ANSWER_METADATA_BYTES} bytes in all. Put large values into the answer.`
        : `"${name}" is no name of metadata: use lower-case letters, digits and hyphens.`;
      throw new HmsError("INVALID_ARGUMENT", why);
    }
    this.#answerMetadata?.tell?.(metadata);
  }

  /**
   * Says that a call which might have changed something has only renewed what was there, as leases are by the thousand:
   * unless it fails it leaves nothing in the audit log.
   */
  changedNothing(): void {
    this.#changesNothing = true;
  }

  /**
   * True if the handler has said that the call changed nothing.
   * @private kernel only
   */
  get hasChangedNothing(): boolean {
    return this.#changesNothing;
  }

  /**
   * What a call made for this one carries: what came with this call, or `own` instead, and always its trace and request
   * id, so that audit, logs and spans of both belong together; what `own` says of these wins. A call's idempotency key
   * is its own and never passed on.
   */
  passedOn(own?: Metadata): Metadata {
    const { "x-hms-idempotency-key": _, ...came } = this.metadata;
    const { traceparent } = this;
    const { tracestate, baggage } = came;
    return {
      ...(own === undefined ? came : {}),
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(tracestate === undefined ? {} : { tracestate }),
      ...(baggage === undefined ? {} : { baggage }),
      "x-request-id": this.requestId,
      ...own,
    };
  }

  /**
   * Ends the call from outside: whoever listens to the signal stops.
   * @private kernel and transports only
   */
  end(error: HmsError): void {
    this.#ended ??= error;
    this.#controller?.abort(error);
  }

  /** @throws HmsError with the reason if the call has been cancelled or its deadline has passed. */
  throwIfEnded(): void {
    if (this.#ended) throw this.#ended;
    if (this.#outer?.aborted) throw HmsError.from(this.#outer.reason);
    if (this.deadlineAt !== undefined && performance.now() >= this.deadlineAt) {
      throw new HmsError("DEADLINE_EXCEEDED", "The call's deadline has passed.");
    }
  }
}
