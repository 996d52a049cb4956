import type {
  DescMessage,
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { CallContext, Metadata } from "./call-context.ts";

/** How one call is made. */
export interface CallOptions {
  /** Relative deadline; default: the one of `context`, else none. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
  metadata?: Metadata | undefined;
  /** The call being answered: its principal, deadline, cancellation and trace are passed on. */
  context?: CallContext | undefined;
  /** Hears what the handler says beside its answers, as it arrives; of a call that is made again, of each try. */
  onMetadata?: ((metadata: Metadata) => void) | undefined;
  /**
   * Makes of an answer's protobuf bytes what the call gives instead of a message; a transport that does not have these
   * bytes gives the message all the same.
   */
  readAnswer?: ((desc: DescMessage, bytes: Uint8Array) => unknown) | undefined;
}

/** Carries calls to where they are answered; errors arrive as HmsError. */
export interface Transport {
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
    options?: CallOptions,
  ): Promise<MessageShape<O>>;
  /** All three streaming kinds; a single request is a stream of one. Leaving the iteration early cancels the call. */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { input: I; output: O },
    inputs: AsyncIterable<MessageInitShape<I>>,
    options?: CallOptions,
  ): AsyncIterable<MessageShape<O>>;
}

type ClientMethod<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageInitShape<I>>, options?: CallOptions) => Promise<MessageShape<O>>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (requests: AsyncIterable<MessageInitShape<I>>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
          : never;

/** A typed client of one service: a function for each method of its contract. */
export type Client<S extends DescService> = { [K in keyof S["method"]]: ClientMethod<S["method"][K]> };

async function* streamOf<T>(value: T): AsyncGenerator<T> {
  yield value;
}

async function lastOf<T>(values: AsyncIterable<T>): Promise<T> {
  let last: T | undefined;
  for await (const value of values) last = value;
  return last as T;
}

function clientMethod(method: DescMethod, transport: Transport): unknown {
  const m = method as never;
  switch (method.methodKind) {
    case "unary":
      return (input: never, options?: CallOptions) => transport.unary(m, input, options);
    case "server_streaming":
      return (input: never, options?: CallOptions) => transport.stream(m, streamOf(input), options);
    case "client_streaming":
      return (inputs: never, options?: CallOptions) => lastOf(transport.stream(m, inputs, options));
    case "bidi_streaming":
      return (inputs: never, options?: CallOptions) => transport.stream(m, inputs, options);
  }
}

/** Makes a typed client of a service over any transport. */
export function createClient<S extends DescService>(service: S, transport: Transport): Client<S> {
  const client: Record<string, unknown> = {};
  for (const method of service.methods) client[method.localName] = clientMethod(method, transport);
  return client as Client<S>;
}
