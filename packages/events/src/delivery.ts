import { HmsError } from "@hms/kernel/errors";
import type { CloudEvent } from "./cloud-event.ts";
import { type LogRow, toCloudEvent } from "./event-row.ts";

/** One handing over of an event to a handler; the first of ack, nak and term counts. */
export interface Delivery {
  /** The event's place in the log. */
  readonly position: number;
  /** 1 the first time. */
  readonly attempt: number;
  /** The event's data as it was published, byte for byte; undefined without any. */
  readonly bytes: Uint8Array | undefined;
  /** Aborted once the event is acked, naked or termed, its ack wait is over, or the subscription is being closed. */
  readonly signal: AbortSignal;
  /** The event is done; also said by a handler that ends without an error. */
  ack(): void;
  /** Send it again, after `delayMs` or the group's back-off; also said by a handler that throws. */
  nak(delayMs?: number): void;
  /** Never send it again: to the dead letters. */
  term(reason: string): void;
  /** It was not looked at, because the subscription is being closed: to the next member, as if it had not been sent. */
  abandon(): void;
}

/** Handles an event. What it throws is stored with the event, so it must hold no secrets. */
export type EventHandler = (event: CloudEvent, delivery: Delivery) => Promise<void> | void;

/** What has become of a delivery. */
export type Outcome =
  | { kind: "ack" }
  | { kind: "nak"; error: string; delayMs?: number }
  | { kind: "term"; error: string }
  /** The subscription was closed before an answer. */
  | { kind: "abandoned" };

/** How an event is handed over. */
export interface DeliveryOptions {
  handler: EventHandler;
  ackWaitMs: number;
  /** The subscription is being closed: handlers are told. */
  closing: AbortSignal;
  /** Nobody waits for handlers any more. */
  closed: AbortSignal;
}

class DeliveryRun implements Delivery {
  readonly position: number;
  readonly attempt: number;
  readonly bytes: Uint8Array | undefined;
  readonly #settle: (outcome: Outcome) => void;
  #controller: AbortController | undefined;
  #over: unknown;

  constructor(row: LogRow, attempt: number, settle: (outcome: Outcome) => void) {
    this.position = row.position;
    this.attempt = attempt;
    this.bytes = row.data ?? undefined;
    this.#settle = settle;
  }

  // Made on first use: most handlers never ask.
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#over) this.#controller.abort(this.#over);
    return this.#controller.signal;
  }

  ack(): void {
    this.#settle({ kind: "ack" });
  }

  nak(delayMs?: number): void {
    this.#settle({ kind: "nak", error: "The handler said nak.", ...(delayMs === undefined ? {} : { delayMs }) });
  }

  term(reason: string): void {
    this.#settle({ kind: "term", error: reason });
  }

  abandon(): void {
    this.#settle({ kind: "abandoned" });
  }

  abort(reason: HmsError): void {
    this.#over ??= reason;
    this.#controller?.abort(reason);
  }
}

const MOST_ERROR_CHARACTERS = 1000;

function errorText(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.slice(0, MOST_ERROR_CHARACTERS);
}

const settled = new HmsError("CANCELLED", "The event has been answered.", { reason: "SETTLED" });
const closing = new HmsError("CANCELLED", "The subscription is being closed.", { reason: "CLOSING" });

/** Hands an event to the handler; resolves with the first answer, that of the ack wait included. */
export function deliver(row: LogRow, attempt: number, options: DeliveryOptions): Promise<Outcome> {
  const { handler, ackWaitMs } = options;
  return new Promise((resolve) => {
    const end = (outcome: Outcome, reason: HmsError) => {
      clearTimeout(timer);
      options.closing.removeEventListener("abort", onClosing);
      options.closed.removeEventListener("abort", onClosed);
      resolve(outcome);
      run.abort(reason);
    };
    const run = new DeliveryRun(row, attempt, (outcome) => end(outcome, settled));
    const onClosing = () => run.abort(closing);
    const onClosed = () => end({ kind: "abandoned" }, closing);
    const timer = setTimeout(() => {
      const error = `Not answered within ${ackWaitMs} ms.`;
      end({ kind: "nak", error }, new HmsError("DEADLINE_EXCEEDED", error, { reason: "ACK_WAIT" }));
    }, ackWaitMs);
    options.closing.addEventListener("abort", onClosing);
    options.closed.addEventListener("abort", onClosed);
    if (options.closing.aborted) onClosing();
    call(handler, row, run).then(
      () => end({ kind: "ack" }, settled),
      (error: unknown) => end({ kind: "nak", error: errorText(error) }, settled),
    );
  });
}

async function call(handler: EventHandler, row: LogRow, run: DeliveryRun): Promise<void> {
  await handler(toCloudEvent(row), run);
}
