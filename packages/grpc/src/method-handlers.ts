import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { createMethodImplSpec, type HandlerContext } from "@connectrpc/connect";
import { createUniversalMethodHandler, type UniversalHandler } from "@connectrpc/connect/protocol";
import { createHandlerFactory as createConnect } from "@connectrpc/connect/protocol-connect";
import { createHandlerFactory as createGrpc } from "@connectrpc/connect/protocol-grpc";
import { createHandlerFactory as createGrpcWeb } from "@connectrpc/connect/protocol-grpc-web";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { anyTypesOf, HmsError, type MethodEntry } from "@hms/kernel";
import { fromConnectError, toConnectError } from "./connect-errors.ts";
import { RpcCall, type RpcRequest, rpcRequest } from "./rpc-call.ts";

/** The largest message, as on the socket. */
const MAX_MESSAGE_BYTES = 4 << 20;

const changing = new WeakMap<DescMethod, UniversalHandler>();
const reading = new WeakMap<DescMethod, UniversalHandler>();

/**
 * Answers a method in Connect, gRPC and gRPC-Web; its requests must carry `rpcRequest` among their context values. What
 * is made for a method is kept as long as its descriptor lives.
 */
export function handlerOf({ desc, mutates }: MethodEntry): UniversalHandler {
  const handlers = mutates ? changing : reading;
  let handler = handlers.get(desc);
  if (handler === undefined) {
    handler = createHandler(mutates ? desc : withoutSideEffects(desc));
    handlers.set(desc, handler);
  }
  return handler;
}

/** Connect's GET goes by protobuf's own option, which our rule stands for. */
function withoutSideEffects(method: DescMethod): DescMethod {
  return Object.assign(Object.create(Object.getPrototypeOf(method)), method, {
    idempotency: MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
  });
}

function createHandler(method: DescMethod): UniversalHandler {
  const options = {
    acceptCompression: [compressionGzip, compressionBrotli],
    readMaxBytes: MAX_MESSAGE_BYTES,
    // Unknown names are refused on every edge.
    jsonOptions: { registry: anyTypesOf(method.parent.file), ignoreUnknownFields: false },
  };
  const factories = [createConnect(options), createGrpc(options), createGrpcWeb(options)];
  return createUniversalMethodHandler(createMethodImplSpec(method, implementation(method) as never), factories);
}

/** What answers one method, in the shape that Connect wants for its kind. */
function implementation({ methodKind }: DescMethod): unknown {
  switch (methodKind) {
    case "unary":
      return unary;
    case "server_streaming":
      return (input: unknown, context: HandlerContext) => stream(single(input), context);
    case "client_streaming":
      return async (inputs: AsyncIterable<unknown>, context: HandlerContext) => {
        let last: unknown;
        for await (const answer of stream(readable(inputs), context)) last = answer;
        return last;
      };
    case "bidi_streaming":
      return (inputs: AsyncIterable<unknown>, context: HandlerContext) => stream(readable(inputs), context);
  }
}

function unary(input: unknown, context: HandlerContext): Promise<unknown> {
  const request = requestOf(context);
  return request.kernel.unary(request.entry, input, new RpcCall(context, request)).catch((error) => {
    throw toConnectError(error);
  });
}

async function* stream(inputs: AsyncIterable<unknown>, context: HandlerContext): AsyncGenerator<unknown> {
  const request = requestOf(context);
  try {
    const call = new RpcCall(context, request);
    for await (const answer of request.kernel.stream(request.entry, inputs, call)) {
      if (request.entry.desc.methodKind !== "client_streaming") call.answered();
      yield answer;
    }
  } catch (error) {
    throw toConnectError(error);
  }
}

async function* single(input: unknown): AsyncGenerator<unknown> {
  yield input;
}

/** Messages that cannot be read fail the call with that reason, not with one of the platform's. */
async function* readable(inputs: AsyncIterable<unknown>): AsyncGenerator<unknown> {
  try {
    yield* inputs;
  } catch (error) {
    throw fromConnectError(error);
  }
}

function requestOf({ values }: HandlerContext): RpcRequest {
  const request = values.get(rpcRequest);
  if (request === undefined) throw new HmsError("INTERNAL", "A request has come past the listener.");
  return request;
}
