import type { ServerResponse } from "node:http";
import { encodeEnvelope } from "@connectrpc/connect/protocol";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { toConnectError } from "./connect-errors.ts";
import type { HttpRequest, HttpResponse } from "./http-messages.ts";
import type { RpcProtocol } from "./rpc-target.ts";

const NOT_FOUND = 404;
const METHOD_NOT_ALLOWED = 405;
const UNSUPPORTED_MEDIA_TYPE = 415;
/** Flag of the last envelope of a Connect stream. */
const END_STREAM = 0b10;

/** Answers a call that reaches no handler with an error, as its protocol wants it. */
export function refuseRpc(exchange: RpcExchange, thrown: unknown): void {
  const { request, protocol } = exchange;
  // Both kinds of answer take the same arguments.
  const response = exchange.response as ServerResponse;
  const error = toConnectError(thrown);
  const asked = request.headers["content-type"] ?? "application/json";
  if (protocol === "grpc" || protocol === "grpc-web") {
    const status = Object.fromEntries(setTrailerStatus(new Headers(), error));
    // gRPC-Web takes an answer of header fields only; in gRPC that would have to be one frame, which Node does not make.
    response.writeHead(200, { "content-type": asked, ...(protocol === "grpc" ? {} : status) });
    if (protocol === "grpc") response.addTrailers(status);
    response.end();
  } else if (protocol === "connect-stream") {
    const end = Buffer.concat([Buffer.from('{"error":'), errorToJsonBytes(error, undefined), Buffer.from("}")]);
    response.writeHead(200, { "content-type": asked });
    response.end(encodeEnvelope(END_STREAM, end));
  } else {
    const status = exchange.unknownPath ? NOT_FOUND : codeToHttpStatus(error.code);
    response.writeHead(status, { "content-type": "application/json" });
    response.end(errorToJsonBytes(error, undefined));
  }
}

/** One request and its answer. */
export interface RpcExchange {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly protocol: RpcProtocol;
  /** True if there is no such method; Connect then wants the status that any server would give. */
  readonly unknownPath?: boolean;
}

/** Answers a request that is no call at all, on a listener that answers nothing else. */
export function refuseOther({ request, response }: Omit<RpcExchange, "protocol">, pathKnown: boolean): void {
  const out = response as ServerResponse;
  if (!pathKnown) out.writeHead(NOT_FOUND);
  else if (request.method !== "POST") out.writeHead(METHOD_NOT_ALLOWED, { allow: "POST" });
  else
    out.writeHead(UNSUPPORTED_MEDIA_TYPE, {
      "accept-post": "application/grpc, application/grpc-web, application/json",
    });
  out.end();
}
