import type { DescMethod } from "@bufbuild/protobuf";
import { type Directory, keyOfContract, keyText, type ServiceKey } from "@hms/directory";
import { type CallOptions, HmsError, type Principal, type StatusCodeName, type Transport } from "@hms/kernel";
import { CallAttempts, type CallGround } from "./call-attempts.ts";
import { beginCallSpan } from "./call-span.ts";
import { type ChannelSchemes, frameSchemes } from "./channel.ts";
import { type CallExplanation, explainCalls } from "./explain-calls.ts";
import { ServiceEndpoints } from "./service-endpoints.ts";

const DEFAULT_MAX_RETRIES = 2;

/** How direct calls are set up. */
export interface DirectCallsOptions {
  readonly directory: Directory;
  /** How addresses are called, by scheme; default: frames, without certificates. */
  readonly schemes?: ChannelSchemes;
  /**
   * Takes calls to instances for which the directory has no ticket, or no address that can be used; default: they are
   * called without one, or not at all.
   */
  readonly edge?: Transport;
  /** Which services the edge serves itself, so that all their calls go there; default: none. */
  readonly servedByEdge?: (key: ServiceKey) => boolean;
  /** How often a call that may be repeated is; default 2, and at most 20 % of a service's calls. */
  readonly maxRetries?: number;
  /** Hears how every call ended, repetitions included in it; default: nobody. */
  readonly onEnd?: CallEndListener;
}

/** Hears how a call ended; `durationMs` is wall time, a stream's is its whole life. */
type CallEndListener = (method: DescMethod, code: StatusCodeName, durationMs: number) => void;

/** Calls services where the directory says that they answer. */
export interface DirectCalls extends AsyncDisposable {
  /**
   * A transport to services of an environment, found by the package of each method's contract; or to one service.
   * Its calls are made on behalf of their context's principal if the directory knows several.
   */
  transport(to: Pick<ServiceKey, "environment"> | ServiceKey): Transport;
  /** How a call to a service would go, and why. @throws HmsError as the directory's lookup does */
  explain(key: ServiceKey, principal?: Principal): Promise<CallExplanation>;
}

/** Makes direct calls; connections are opened when they are needed and shared by everybody in the process. */
export function createDirectCalls(options: DirectCallsOptions): DirectCalls {
  const {
    directory,
    edge,
    servedByEdge = () => false,
    schemes = frameSchemes(),
    maxRetries = DEFAULT_MAX_RETRIES,
    onEnd = () => {},
  } = options;
  const grounds = new Map<string, CallGround>();
  const groundOf = (key: ServiceKey): CallGround => {
    const text = keyText(key);
    let ground = grounds.get(text);
    if (ground === undefined) {
      const always = edge !== undefined && servedByEdge(key) ? "edge" : undefined;
      ground = { key, directory, edge, always, maxRetries, endpoints: new ServiceEndpoints(schemes) };
      grounds.set(text, ground);
    }
    return ground;
  };
  return {
    transport: (to) => {
      if ("serviceId" in to) return new DirectTransport(() => groundOf(to), onEnd);
      return new DirectTransport((method) => groundOf(keyOfContract(method.parent.typeName, to.environment)), onEnd);
    },
    explain: (key, principal) => explainCalls(groundOf(key), { schemes, principal }),
    async [Symbol.asyncDispose]() {
      await Promise.all([...grounds.values()].map(({ endpoints }) => endpoints.close()));
      grounds.clear();
    },
  };
}

/** Tells a source of messages that has been begun from one that has not. */
class Source implements AsyncIterable<unknown> {
  readonly #inputs: AsyncIterable<unknown>;
  begun = false;

  constructor(inputs: AsyncIterable<unknown>) {
    this.#inputs = inputs;
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    this.begun = true;
    return this.#inputs[Symbol.asyncIterator]();
  }
}

class DirectTransport implements Transport {
  readonly #groundOf: (method: DescMethod) => CallGround;
  readonly #grounds = new Map<DescMethod, CallGround>();
  readonly #onEnd: CallEndListener;

  constructor(groundOf: (method: DescMethod) => CallGround, onEnd: CallEndListener) {
    this.#groundOf = groundOf;
    this.#onEnd = onEnd;
  }

  #attempts(method: DescMethod, options: CallOptions | undefined): CallAttempts {
    let ground = this.#grounds.get(method);
    if (ground === undefined) {
      ground = this.#groundOf(method);
      this.#grounds.set(method, ground);
    }
    return new CallAttempts(ground, method, options);
  }

  async unary(method: DescMethod, input: unknown, options?: CallOptions): Promise<never> {
    const span = beginCallSpan(method, options);
    const began = performance.now();
    let ended: HmsError | undefined;
    try {
      const attempts = this.#attempts(method, span.options);
      for (;;) {
        const next = attempts.next();
        const attempt = next instanceof Promise ? await next : next;
        const { endpoint, transport } = attempt;
        const started = performance.now();
        endpoint?.begin(started);
        try {
          const output = await transport.unary(method as never, input as never, attempt.options);
          endpoint?.end(undefined, performance.now() - started);
          return output as never;
        } catch (failure) {
          const error = HmsError.from(failure);
          endpoint?.end(error, performance.now() - started);
          await attempts.after(attempt, error);
        }
      }
    } catch (failure) {
      ended = HmsError.from(failure);
      throw failure;
    } finally {
      span.end(ended);
      this.#onEnd(method, ended === undefined ? "OK" : ended.code, performance.now() - began);
    }
  }

  async *stream(method: DescMethod, inputs: AsyncIterable<unknown>, options?: CallOptions): AsyncGenerator<never> {
    const span = beginCallSpan(method, options);
    const started = performance.now();
    let ended: HmsError | undefined = callerLeft();
    try {
      yield* this.#stream(method, inputs, span.options);
      ended = undefined;
    } catch (error) {
      ended = HmsError.from(error);
      throw error;
    } finally {
      span.end(ended);
      this.#onEnd(method, ended === undefined ? "OK" : ended.code, performance.now() - started);
    }
  }

  async *#stream(
    method: DescMethod,
    inputs: AsyncIterable<unknown>,
    options: CallOptions | undefined,
  ): AsyncGenerator<never> {
    const attempts = this.#attempts(method, options);
    // A single request can be sent again, a stream only if nobody has read from it.
    const single = method.methodKind === "server_streaming" ? await onlyOf(inputs) : undefined;
    for (;;) {
      const attempt = await attempts.next();
      const source = new Source(single ?? inputs);
      const progress = { received: false };
      try {
        yield* streamOnce({ method, source, progress }, attempt);
        return;
      } catch (failure) {
        const error = HmsError.from(failure);
        if (progress.received || (source.begun && single === undefined)) throw error;
        await attempts.after(attempt, error);
      }
    }
  }
}

interface StreamTry {
  method: DescMethod;
  source: Source;
  progress: { received: boolean };
}

async function* streamOnce({ method, source, progress }: StreamTry, attempt: Attempt): AsyncGenerator<never> {
  const { endpoint, transport, options } = attempt;
  endpoint?.begin(performance.now());
  let ended: HmsError | undefined = callerLeft();
  try {
    for await (const message of transport.stream(method, source as AsyncIterable<never>, options)) {
      progress.received = true;
      yield message as never;
    }
    ended = undefined;
  } catch (failure) {
    ended = HmsError.from(failure);
    throw ended;
  } finally {
    endpoint?.end(ended, undefined);
  }
}

const callerLeft = () => new HmsError("CANCELLED", "The caller left the stream.");

type Attempt = Awaited<ReturnType<CallAttempts["next"]>>;

async function onlyOf(inputs: AsyncIterable<unknown>): Promise<AsyncIterable<unknown>> {
  for await (const input of inputs) {
    return {
      async *[Symbol.asyncIterator]() {
        yield input;
      },
    };
  }
  throw new HmsError("INVALID_ARGUMENT", "A call needs a request.");
}
