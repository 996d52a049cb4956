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

/** Hands events to the handler of a subscription. */
export class DeliveryDesk {
  readonly #handler: EventHandler;
  readonly #ackWaitMs: number;
  readonly #open = new Map<DeliveryRun, (outcome: Outcome) => void>();
  #isClosing = false;
  #isClosed = false;

  constructor(handler: EventHandler, ackWaitMs: number) {
    this.#handler = handler;
    this.#ackWaitMs = ackWaitMs;
  }

  /** Resolves with the first answer, that of the ack wait included. */
  deliver(row: LogRow, attempt: number): Promise<Outcome> {
    if (this.#isClosed) return Promise.resolve({ kind: "abandoned" });
    return new Promise((resolve) => {
      const end = (outcome: Outcome, reason = settled) => {
        if (!this.#open.delete(run)) return;
        clearTimeout(timer);
        resolve(outcome);
        run.abort(reason);
      };
      const run = new DeliveryRun(row, attempt, end);
      const timer = setTimeout(() => {
        const error = `Not answered within ${this.#ackWaitMs} ms.`;
        end({ kind: "nak", error }, new HmsError("DEADLINE_EXCEEDED", error, { reason: "ACK_WAIT" }));
      }, this.#ackWaitMs);
      this.#open.set(run, end);
      if (this.#isClosing) run.abort(closing);
      call(this.#handler, row, run).then(
        () => end({ kind: "ack" }),
        (error: unknown) => end({ kind: "nak", error: errorText(error) }),
      );
    });
  }

  /** Tells all handlers that the subscription is being closed. */
  tellClosing(): void {
    this.#isClosing = true;
    for (const run of this.#open.keys()) run.abort(closing);
  }

  /** Waits for no handler any more. */
  abandon(): void {
    this.#isClosed = true;
    for (const end of [...this.#open.values()]) end({ kind: "abandoned" });
  }
}

async function call(handler: EventHandler, row: LogRow, run: DeliveryRun): Promise<void> {
  await handler(toCloudEvent(row), run);
}
