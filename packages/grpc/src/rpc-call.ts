import { Code, ConnectError, type ContextKey, createContextKey, type HandlerContext } from "@connectrpc/connect";
import {
  AnswerFields,
  type CallContext,
  type CallWay,
  HmsError,
  type IncomingCall,
  type Kernel,
  type Metadata,
  type MethodEntry,
} from "@hms/kernel";
import { metadataOf } from "./request-metadata.ts";

/** What is known of a request before its protocol has been read. */
export interface RpcRequest {
  readonly kernel: Kernel;
  readonly entry: MethodEntry;
  readonly caller: IncomingCall["caller"];
  /** Ends the call from this side, because the server stops; undefined: it is let finish. */
  readonly stop: AbortSignal | undefined;
}

/** Where a handler finds the request it answers. */
export const rpcRequest: ContextKey<RpcRequest | undefined> = createContextKey<RpcRequest | undefined>(undefined, {
  description: "what the listener knows of the request",
});

const exchanges = new WeakMap<CallContext, HandlerContext>();

/**
 * What Connect knows of a call that came by gRPC, gRPC-Web or Connect: the request's header fields, and those that are
 * to go with the answer, which only these protocols have; undefined for calls that came another way.
 */
export function rpcContextOf(context: CallContext): HandlerContext | undefined {
  return exchanges.get(context);
}

/** The protocols by the names that Connect gives them. */
const WAYS: Record<string, CallWay> = { connect: "connect", grpc: "grpc", "grpc-web": "grpc-web" };

/** A request as the kernel takes it; it ends with the client, with its deadline, or when the server stops. */
export class RpcCall implements IncomingCall {
  readonly caller: IncomingCall["caller"];
  readonly metadata: Metadata;
  readonly deadlineAt: number | undefined;
  readonly signal: AbortSignal;
  readonly way: CallWay;
  readonly #context: HandlerContext;
  #hasAnswered = false;
  #fields: AnswerFields | undefined;

  constructor(context: HandlerContext, { caller, stop }: RpcRequest) {
    this.#context = context;
    this.caller = caller;
    this.way = WAYS[context.protocolName] ?? "connect";
    this.metadata = metadataOf(context.requestHeader);
    const timeoutMs = context.timeoutMs();
    this.deadlineAt = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
    this.signal = endOf(context.signal, stop);
  }

  attach(context: CallContext): void {
    exchanges.set(context, this.#context);
  }

  /** From now on what the handler says goes with the trailers. */
  answered(): void {
    this.#hasAnswered = true;
  }

  tell(metadata: Metadata): void {
    const { responseHeader, responseTrailer } = this.#context;
    const into = this.#hasAnswered ? responseTrailer : responseHeader;
    this.#fields ??= new AnswerFields(this.way === "grpc" ? "grpc" : "anybody");
    for (const [name, value] of this.#fields.of(metadata)) into.set(name, value);
  }
}

/** Aborts with the first of two signals, with an HmsError as its reason. */
function endOf(client: AbortSignal, stop: AbortSignal | undefined): AbortSignal {
  const end = new AbortController();
  const once = { once: true, signal: end.signal };
  const left = () => end.abort(reasonOf(client.reason));
  const stopped = () => end.abort(stopping(stop?.reason));
  if (client.aborted) left();
  else if (stop?.aborted) stopped();
  client.addEventListener("abort", left, once);
  stop?.addEventListener("abort", stopped, once);
  return end.signal;
}

function stopping(reason: unknown): HmsError {
  if (reason instanceof HmsError) return reason;
  const why = "The server is stopping; try again when it is back.";
  return new HmsError("UNAVAILABLE", why, { reason: "SERVER_STOPPING" });
}

function reasonOf(reason: unknown): HmsError {
  if (reason instanceof ConnectError && reason.code === Code.DeadlineExceeded) {
    return new HmsError("DEADLINE_EXCEEDED", "The call's deadline has passed.");
  }
  return new HmsError("CANCELLED", "The caller cancelled the call.");
}
