import type { ServerResponse } from "node:http";
import { encodeEnvelope } from "@connectrpc/connect/protocol";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { toConnectError } from "./connect-errors.ts";
import type { HttpRequest, HttpResponse } from "./http-messages.ts";
import type { RpcProtocol } from "./rpc-target.ts";

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
    // A response of header fields only.
    const status = Object.fromEntries(setTrailerStatus(new Headers(), error));
    response.writeHead(200, { "content-type": asked, ...status });
    response.end();
  } else if (protocol === "connect-stream") {
    const end = Buffer.concat([Buffer.from('{"error":'), errorToJsonBytes(error, undefined), Buffer.from("}")]);
    response.writeHead(200, { "content-type": asked });
    response.end(encodeEnvelope(END_STREAM, end));
  } else {
    response.writeHead(codeToHttpStatus(error.code), { "content-type": "application/json" });
    response.end(errorToJsonBytes(error, undefined));
  }
}

/** One request and its answer. */
export interface RpcExchange {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
  readonly protocol: RpcProtocol;
}
