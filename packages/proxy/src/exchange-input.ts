import type { Readable } from "node:stream";
import type { ClientConnection } from "./client-connection.ts";
import type { ProxyRequest, ProxyResponse } from "./client-messages.ts";
import type { Assignment } from "./division.ts";
import type { EngineContext } from "./engine-context.ts";
import type { ReplyContext } from "./error-reply.ts";
import type { Passage } from "./passage.ts";
import type { RouteTarget } from "./service.ts";

/** One request on its way. */
export interface ExchangeInput {
  context: EngineContext;
  client: ClientConnection;
  request: ProxyRequest;
  /** null: the socket is no longer node:http's, because the client asked for an upgrade. */
  response: ProxyResponse | null;
  target: RouteTarget;
  /** Which side of its service's split it belongs to; null: there was none when it came. */
  assignment: Assignment | null;
  /** The head for the service. */
  forwardedHead: string;
  /** What happens to the answer on its way; null: nothing. */
  passage: Passage | null;
  /** What is sent instead of the request's own body. */
  body?: Readable;
}

/** What an exchange keeps to. */
export interface ExchangeLimits {
  readonly maxBodyBytes: number;
  /** Until the response head. */
  readonly requestTimeoutMs: number;
  /** In which a body makes no progress. */
  readonly idleBodyTimeoutMs: number;
}

/** The limits of one exchange: its route's, its service's, or the engine's. */
export function limitsOf({ context, target, passage, body }: ExchangeInput): ExchangeLimits {
  const { requestTimeoutMs, idleBodyTimeoutMs } = target.service.policy;
  const mostBytes = Math.min(passage?.maxBodyBytes ?? Number.POSITIVE_INFINITY, context.maxRequestBodyBytes);
  return {
    // A changed body was measured before.
    maxBodyBytes: body === undefined ? mostBytes : Number.POSITIVE_INFINITY,
    requestTimeoutMs: passage?.requestTimeoutMs ?? requestTimeoutMs,
    idleBodyTimeoutMs: idleBodyTimeoutMs ?? context.idleBodyTimeoutMs,
  };
}

/** What an answer's head takes of its request. */
export function replyContextOf({ request, passage }: ExchangeInput, keepAlive: boolean): Required<ReplyContext> {
  return {
    requestId: request.head.requestId,
    keepAlive,
    isHead: request.method === "HEAD",
    isHttp10: request.httpVersionMinor === 0,
    hsts: passage?.hsts ?? "",
  };
}
