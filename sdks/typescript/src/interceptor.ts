/** A call on its way, as interceptors see it. */
export interface InterceptedCall {
  /** "hms.cdf.debate.v1.DebateService". */
  readonly service: string;
  /** "EvaluatePolicy". */
  readonly method: string;
  /** Values of the language, or a stream of them. */
  readonly request: unknown;
  readonly metadata: Readonly<Record<string, string>>;
  /** Relative deadline; undefined: none. */
  readonly timeoutMs: number | undefined;
}

/**
 * Stands between a call and whoever makes or answers it: may look at it, change it by calling `next` with another, answer
 * it without calling `next`, or throw. For methods that answer with a stream the result is an AsyncIterable.
 */
export type Interceptor = (
  call: InterceptedCall,
  next: (call: InterceptedCall) => Promise<unknown>,
) => Promise<unknown>;

/** Passes a call through interceptors, the first one outermost, and then to `last`. */
export function intercept(
  interceptors: readonly Interceptor[],
  call: InterceptedCall,
  last: (call: InterceptedCall) => Promise<unknown>,
): Promise<unknown> {
  const from = (index: number, passed: InterceptedCall): Promise<unknown> => {
    const interceptor = interceptors[index];
    return interceptor ? interceptor(passed, (next) => from(index + 1, next)) : last(passed);
  };
  return from(0, call);
}
