import type { calls } from "@hms/contracts";
import { type CallContext, type CallObserver, ChangeSignal } from "@hms/kernel";
import { callFilter, type TappableCall } from "./call-filter.ts";
import { tappedCall } from "./tapped-call.ts";

/** Calls that wait for a slow reader; more are dropped and counted. */
const MOST_WAITING = 4096;

/** Calls that one message carries at most. */
const MOST_AT_ONCE = 256;

/** What a tap sees, and what it is told of. */
export type Observed = Pick<CallObserver, "ended">;

/**
 * Shows what an observer sees: its `ended` is set while somebody taps, and undefined otherwise, so that calls nobody looks
 * at cost nothing.
 */
export function tapCalls(observer: Observed) {
  const taps = new Set<Tap>();
  const offer = (call: TappableCall) => {
    for (const tap of taps) tap.offer(call);
  };
  const changed = () => {
    observer.ended = taps.size === 0 ? undefined : offer;
  };
  return async function* (request: calls.TapCallsRequest, context: CallContext) {
    const tap = new Tap(request, context);
    taps.add(tap);
    changed();
    try {
      yield* tap.messages(context);
    } finally {
      taps.delete(tap);
      changed();
    }
  };
}

/** What one reader is to be shown. */
class Tap {
  readonly #request: calls.TapCallsRequest;
  readonly #matches: (call: TappableCall) => boolean;
  readonly #came = new ChangeSignal();
  #waiting: calls.TappedCall[] = [];
  #dropped = 0;

  constructor(request: calls.TapCallsRequest, context: CallContext) {
    this.#request = request;
    const fits = callFilter(request);
    const filter = context.filter();
    this.#matches = (call) => {
      const { desc, environment } = call.context.method;
      return fits(call) && filter.allows({ name: desc.parent.typeName, environment });
    };
  }

  offer(call: TappableCall): void {
    if (!this.#matches(call)) return;
    if (this.#waiting.length >= MOST_WAITING) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(tappedCall(call, this.#request.withRequests));
    if (this.#waiting.length === 1) this.#came.notify();
  }

  /** An empty message at once, then calls as they come, until the reader leaves. */
  async *messages({ signal }: CallContext): AsyncGenerator<{ calls: calls.TappedCall[]; dropped: bigint }> {
    yield { calls: [], dropped: 0n };
    for (;;) {
      if (this.#waiting.length === 0) await this.#came.next(signal);
      const dropped = BigInt(this.#dropped);
      this.#dropped = 0;
      yield { calls: this.#waiting.splice(0, MOST_AT_ONCE), dropped };
    }
  }
}
