import { type CallContext, HmsError } from "@hms/kernel";

/** How much a service takes on. */
export interface CallLimitsOptions {
  readonly maxConcurrentCalls: number | undefined;
  readonly timeoutMs: number | undefined;
}

/** Keeps the calls of a service within its limits. */
export class CallLimits {
  readonly #options: CallLimitsOptions;
  #running = 0;

  constructor(options: CallLimitsOptions) {
    this.#options = options;
  }

  /** True if calls may be as many and take as long as they like. */
  get areNone(): boolean {
    const { maxConcurrentCalls, timeoutMs } = this.#options;
    return maxConcurrentCalls === undefined && timeoutMs === undefined;
  }

  /** Lets a call begin; what it returns ends it. @throws HmsError RESOURCE_EXHAUSTED if as many run as may */
  begin(context: CallContext): RunningCall {
    const { maxConcurrentCalls = Number.POSITIVE_INFINITY, timeoutMs } = this.#options;
    if (this.#running >= maxConcurrentCalls) {
      throw new HmsError(
        "RESOURCE_EXHAUSTED",
        `The service has ${this.#running} calls running, the most it takes. Try later.`,
        {
          reason: "TOO_MANY_CALLS",
        },
      );
    }
    this.#running += 1;
    return new RunningCall(context, timeoutMs, () => {
      this.#running -= 1;
    });
  }
}

/** A call within its limits. */
export class RunningCall implements Disposable {
  readonly #ended: () => void;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #late: Promise<never> | undefined;

  constructor(context: CallContext, timeoutMs: number | undefined, ended: () => void) {
    this.#ended = ended;
    if (timeoutMs === undefined) return;
    const late = Promise.withResolvers<never>();
    this.#late = late.promise;
    // Nobody may be waiting when the time is over.
    late.promise.catch(() => {});
    this.#timer = setTimeout(() => {
      const error = new HmsError("DEADLINE_EXCEEDED", `The service ends calls after ${timeoutMs} ms.`);
      context.end(error);
      late.reject(error);
    }, timeoutMs);
  }

  /** Settles with the work, or fails once the time is over. */
  inTime<T>(work: T): T | Promise<Awaited<T>> {
    return this.#late ? Promise.race([work, this.#late]) : work;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#ended();
  }
}
