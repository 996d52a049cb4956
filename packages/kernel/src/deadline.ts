import type { CallContext } from "./call-context.ts";
import { HmsError } from "./hms-error.ts";

/** Longer waits than this overflow Node's timers; nobody waits 24 days for a call. */
const LONGEST_TIMER_MS = 2_147_483_647;

function deadlineError(): HmsError {
  return new HmsError("DEADLINE_EXCEEDED", "The call's deadline has passed.");
}

/**
 * Settles with the work, or rejects as soon as the call's deadline passes or its caller cancels; the context's signal
 * then tells the handler to stop.
 */
export function guardDeadline<T>(context: CallContext, work: Promise<T>): Promise<T> {
  return context.guarded ? guardAnswer(context, work) : work;
}

/** The same for calls that can be ended from outside too, whatever their transport. */
export function guardAnswer<T>(context: CallContext, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = whenEnded(context, reject);
    work.then(resolve, reject).finally(stop);
  });
}

/** Calls back once when the deadline passes or the caller cancels; the result takes the watch away again. */
function whenEnded(context: CallContext, ended: (error: HmsError) => void): () => void {
  const { remainingMs, signal } = context;
  const onAbort = () => ended(HmsError.from(signal.reason));
  signal.addEventListener("abort", onAbort, { once: true });
  const timer =
    remainingMs === undefined
      ? undefined
      : setTimeout(() => context.end(deadlineError()), Math.min(remainingMs, LONGEST_TIMER_MS));
  return () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  };
}

/** Passes a handler's messages on until it ends, the deadline passes or the caller cancels. */
export async function* guardStream<T>(context: CallContext, messages: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = messages[Symbol.asyncIterator]();
  let stop = () => {};
  const ended = new Promise<never>((_, reject) => {
    stop = whenEnded(context, reject);
  });
  // The race below consumes it; without a race in progress nobody would.
  ended.catch(() => {});
  try {
    for (;;) {
      const next = await Promise.race([iterator.next(), ended]);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    stop();
    // Not awaited: a handler that waits for something else would hold the caller's cancellation up.
    iterator.return?.()?.catch(() => {});
  }
}
