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
import type { CallContext } from "./call-context.ts";
import type { MethodRule } from "./method-entry.ts";

type Answer<O extends DescMessage> = MessageInitShape<O> | Promise<MessageInitShape<O>>;

/** The handler of one method; what it returns may leave out fields with default values. */
export type MethodHandler<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageShape<I>, context: CallContext) => Answer<O>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, context: CallContext) => AsyncIterable<MessageInitShape<O>>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: AsyncIterable<MessageShape<I>>, context: CallContext) => Answer<O>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? (requests: AsyncIterable<MessageShape<I>>, context: CallContext) => AsyncIterable<MessageInitShape<O>>
          : never;

/** A whole service: one handler for each method of its contract, by local name. */
export type ServiceImplementation<S extends DescService> = {
  [K in keyof S["method"]]: MethodHandler<S["method"][K]>;
};

/** A service and its implementation, ready to be registered. */
export interface ServiceRegistration<S extends DescService = DescService> {
  readonly service: S;
  readonly implementation: ServiceImplementation<S>;
  /** The rules of its methods; default: what the contract states, which must be complete. */
  readonly ruleOf?: (method: DescMethod) => MethodRule;
}

/** Pairs a contract with its implementation; the compiler checks that every method is there. */
export function implement<S extends DescService>(
  service: S,
  implementation: ServiceImplementation<S>,
): ServiceRegistration<S> {
  return { service, implementation };
}
