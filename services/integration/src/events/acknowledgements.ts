import { durationMs } from "@bufbuild/protobuf/wkt";
import { integrationEvents } from "@hms/contracts";
import type { Delivery } from "@hms/events";
import { HmsError } from "@hms/kernel";
import { v7 } from "../uuid.ts";

const { RETRY, REJECT } = integrationEvents.AckOutcome;

interface Unanswered {
  delivery: Delivery;
  answered: () => void;
  /** The subscriber has been given it. */
  isSent: boolean;
}

/** The deliveries of one subscription that nobody has answered yet. */
export class Acknowledgements {
  /** Whose subscription it is. */
  readonly owner: string;
  readonly #left: AbortSignal;
  readonly #waiting = new Map<string, Unanswered>();
  #last = 0;

  constructor(owner: string, left: AbortSignal) {
    this.owner = owner;
    this.#left = left;
  }

  /** Names a delivery; settles when it is answered or can no longer be. */
  wait(delivery: Delivery): { id: string; settled: Promise<void> } {
    this.#last += 1;
    const id = String(this.#last);
    const { promise, resolve } = Promise.withResolvers<void>();
    const unanswered: Unanswered = { delivery, answered: resolve, isSent: false };
    this.#waiting.set(id, unanswered);
    // Closing, or the ack wait is over: then this comes too late and changes nothing.
    const over = () => {
      this.#waiting.delete(id);
      // A subscriber that left with it may have died of it, as the next one would: that counts as a delivery.
      if (unanswered.isSent && this.#left.aborted) delivery.nak();
      else delivery.abandon();
      resolve();
    };
    if (delivery.signal.aborted) over();
    else delivery.signal.addEventListener("abort", over, { once: true });
    return { id, settled: promise };
  }

  /** The subscriber is given this delivery now. */
  sent(id: string): void {
    const found = this.#waiting.get(id);
    if (found) found.isSent = true;
  }

  /** Answers deliveries; those that have been answered, or were taken back because they took too long, are left out. */
  answer(request: integrationEvents.AcknowledgeRequest): void {
    for (const id of request.deliveryIds) {
      const found = this.#waiting.get(id);
      if (found === undefined) continue;
      this.#waiting.delete(id);
      settle(found.delivery, request);
      found.answered();
    }
  }
}

function settle(delivery: Delivery, { outcome, delay, reason }: integrationEvents.AcknowledgeRequest): void {
  if (outcome === RETRY) delivery.nak(delay === undefined ? undefined : durationMs(delay));
  else if (outcome === REJECT) delivery.term(reason || "The subscriber rejected it.");
  else delivery.ack();
}

/** The subscriptions of this process whose deliveries are to be acknowledged. */
export class OpenSubscriptions {
  readonly #open = new Map<string, Acknowledgements>();

  /** Opens one, until `close` is called; `left` aborts when its subscriber goes away. */
  open(owner: string, left: AbortSignal): { id: string; acknowledgements: Acknowledgements; close: () => void } {
    const id = v7();
    const acknowledgements = new Acknowledgements(owner, left);
    this.#open.set(id, acknowledgements);
    return { id, acknowledgements, close: () => this.#open.delete(id) };
  }

  /** @throws HmsError NOT_FOUND if there is no such subscription of that owner */
  find(id: string, owner: string): Acknowledgements {
    const found = this.#open.get(id);
    if (found !== undefined && found.owner === owner) return found;
    const message = `There is no subscription "${id}" of yours here: it has ended, and what was not acknowledged is delivered again.`;
    throw new HmsError("NOT_FOUND", message, { reason: "SUBSCRIPTION_UNKNOWN" });
  }
}
