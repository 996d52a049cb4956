import type { IncomingHttpHeaders } from "node:http";
import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { HmsError, type Kernel, type MethodEntry } from "@hms/kernel";
import type { HttpRequest, HttpResponse } from "./http-messages.ts";
import { connectionOf } from "./http-protocols.ts";
import { handlerOf } from "./method-handlers.ts";
import { platformMethods } from "./platform-methods.ts";
import { rpcRequest } from "./rpc-call.ts";
import { type RpcExchange, refuseOther, refuseRpc } from "./rpc-refusal.ts";
import { pathTarget, type RpcTarget, rpcTarget } from "./rpc-target.ts";
import { ServiceNames } from "./service-names.ts";

/** How a listener is set up. */
export interface RpcListenerOptions {
  /** Lets reflection and health be asked without credentials; default: they need `registry:read`. */
  readonly openReflection?: boolean;
  /** True if nothing else answers here: what is no call is then refused too; default false. */
  readonly alone?: boolean;
  /** Aborts when the server stops: calls that only read, and may never end by themselves, then end. */
  readonly stop?: AbortSignal;
}

/** Answers a request if it is a call; false if it is not, and nothing has been done with it. */
export type RpcListener = (request: HttpRequest, response: HttpResponse) => boolean;

/**
 * Answers every method that can be called through a kernel, served by it or elsewhere, in gRPC, gRPC-Web and Connect,
 * over HTTP/1.1 and HTTP/2; beside them grpc.reflection.v1, v1alpha and grpc.health.v1.
 */
export function createRpcListener(kernel: Kernel, options: RpcListenerOptions = {}): RpcListener {
  const names = new ServiceNames(kernel);
  const platform = platformMethods(kernel, options.openReflection === true);
  const find = (target: RpcTarget, environment: string): Found | Promise<Found> => {
    const { service, method } = target;
    // First of all: what a gRPC tool hears of the platform is not for a service to say.
    const own = platform.find(target);
    if (own !== undefined) return own;
    const entry = kernel.resolve({ service, method, environment });
    if (entry instanceof Promise) return entry.then((later) => later && { kernel, entry: later });
    return entry && { kernel, entry };
  };
  return (request, response) => {
    const environment = environmentOf(request.headers);
    const known = (name: { service: string; method: string } | undefined) =>
      name !== undefined && (names.has(environment, name.service) || platform.find(name) !== undefined);
    const target = rpcTarget(request.method, request.url, request.headers["content-type"]);
    if (target === undefined || !(target.certain || known(target))) {
      if (options.alone) refuseOther({ request, response }, known(pathTarget(request.url)));
      return options.alone === true;
    }
    const exchange = { request, response, protocol: target.protocol };
    void answer(exchange, target, { find: () => find(target, environment), stop: options.stop });
    return true;
  };
}

/** A method, and the kernel that runs it. */
type Found = { readonly kernel: Kernel; readonly entry: MethodEntry } | undefined;

function environmentOf(headers: IncomingHttpHeaders): string {
  const named = headers["x-hms-environment"];
  return typeof named === "string" ? named : "default";
}

/** What an exchange is answered with. */
interface Ground {
  find(): Found | Promise<Found>;
  readonly stop: AbortSignal | undefined;
}

async function answer(exchange: RpcExchange, target: RpcTarget, ground: Ground): Promise<void> {
  const { request, response } = exchange;
  try {
    const found = await ground.find();
    if (found === undefined) {
      refuseRpc({ ...exchange, unknownPath: true }, notServed(target));
      return;
    }
    const connection = connectionOf(request);
    const caller = connection.callers.of(request.headers.authorization);
    const stop = isEndless(found.entry) ? anyOf(connection.stop, ground.stop) : undefined;
    if (mayBeLarge(request.headers)) await found.kernel.admit(found.entry, { caller, way: WAYS[exchange.protocol] });
    const values = createContextValues().set(rpcRequest, { ...found, caller, stop });
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    await universalResponseToNodeResponse(await handlerOf(found.entry)(universal), response);
  } catch (error) {
    // The client has left, and nobody waits for an answer.
    if (error instanceof ConnectError && error.code === Code.Aborted) return;
    refuseIfPossible(exchange, error);
  }
}

/** Never throws: nobody is behind it. */
function refuseIfPossible(exchange: RpcExchange, error: unknown): void {
  const { response } = exchange;
  try {
    if (response.headersSent) response.destroy();
    else refuseRpc(exchange, error);
  } catch {
    response.destroy();
  }
}

const WAYS = { connect: "connect", "connect-stream": "connect", grpc: "grpc", "grpc-web": "grpc-web" } as const;

/** What a caller may send before it is known; gRPC does not say how much it will be. */
const SMALL_BYTES = 64 * 1024;

const mayBeLarge = ({ "content-length": length }: IncomingHttpHeaders) => !(Number(length) <= SMALL_BYTES);

const isEndless = ({ desc, mutates }: MethodEntry) => desc.methodKind !== "unary" && !mutates;

const anyOf = (one: AbortSignal, other: AbortSignal | undefined) => (other ? AbortSignal.any([one, other]) : one);

function notServed({ service, method }: RpcTarget): HmsError {
  return new HmsError("UNIMPLEMENTED", `${service}/${method}`.slice(0, 200).concat(" is not served here."));
}
