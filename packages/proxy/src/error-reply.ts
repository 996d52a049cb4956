import { STATUS_CODES } from "node:http";
import type { Service } from "./service.ts";
import type { UpstreamFailure } from "./upstream-connection.ts";

/** An answer that the proxy gives itself. */
export interface ErrorReply {
  status: number;
  /** What happened and what to do, for people. */
  message: string;
  /** Further fields, each with its line end. */
  fields?: string;
  /** Which rule of a route has refused the request; left out: none has. */
  rule?: string;
  /** Latin-1 text that is sent as it is, instead of the message as JSON. */
  text?: string;
}

// The product's error codes (gRPC's names) for the statuses that a proxy answers with.
const CODES: Record<number, string> = {
  308: "FAILED_PRECONDITION",
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  405: "UNIMPLEMENTED",
  408: "DEADLINE_EXCEEDED",
  413: "RESOURCE_EXHAUSTED",
  415: "INVALID_ARGUMENT",
  417: "FAILED_PRECONDITION",
  429: "RESOURCE_EXHAUSTED",
  431: "RESOURCE_EXHAUSTED",
  501: "UNIMPLEMENTED",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

/** How the rest of the connection is treated, and what of the reply depends on the request. */
export interface ReplyContext {
  requestId: string;
  keepAlive: boolean;
  /** Only the head is sent, as an answer to HEAD. */
  isHead: boolean;
  /** A client of HTTP/1.0 has to be told that its connection stays open. */
  isHttp10?: boolean;
  /** The Strict-Transport-Security field with its line end; "" or left out: none. */
  hsts?: string;
}

/** The bytes of a reply, body `{error: {code, message, request_id}}`; Latin-1 text, so that it is written as it is. */
export function renderErrorReply(reply: ErrorReply, context: ReplyContext): string {
  const { status, text } = reply;
  const error = { code: CODES[status] ?? "UNKNOWN", message: reply.message, request_id: context.requestId };
  const body = text ?? asciiJson({ error });
  const connection = context.keepAlive
    ? context.isHttp10
      ? "connection: keep-alive\r\n"
      : ""
    : "connection: close\r\n";
  const head =
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\ndate: ${new Date().toUTCString()}\r\n` +
    `content-type: ${text === undefined ? "application/json" : "application/octet-stream"}\r\ncontent-length: ${body.length}\r\nx-request-id: ${context.requestId}\r\n` +
    `${reply.fields ?? ""}${context.hsts ?? ""}${connection}\r\n`;
  return context.isHead ? head : head + body;
}

function asciiJson(value: unknown): string {
  return `${JSON.stringify(value)}\n`.replace(
    /[\u0080-\uffff]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** What a client is told while there is nobody to answer. */
export function absenceReply({ name, absence, waitingRoom: { retryAfter } }: Service): ErrorReply {
  const when = retryAfter === 1 ? "in a second" : `in ${retryAfter} seconds`;
  const message = absence ?? `No replica of "${name}" is ready for this request; try again ${when}.`;
  return { status: 503, message, fields: `retry-after: ${retryAfter}\r\n` };
}

/** What a client is told whose request failed on its way. */
export function failureReply(
  failure: UpstreamFailure,
  { name: service, absence }: Service,
  reason: string,
): ErrorReply {
  switch (failure) {
    case "timeout":
      return { status: 504, message: `"${service}" did not answer in time.` };
    case "connect":
    case "silent":
      return {
        status: 503,
        message: absence ?? `No replica of "${service}" accepts connections (${reason}); try again in a second.`,
        fields: "retry-after: 1\r\n",
      };
    case "malformed":
      return { status: 502, message: `"${service}" answered with something that is not HTTP: ${reason}.` };
    default:
      return { status: 502, message: `"${service}" closed the connection before its answer was complete.` };
  }
}

/** What a client is told while every replica is left alone, because it has answered badly. */
export function breakerReply({ name }: Service, waitMs: number): ErrorReply {
  const seconds = Math.max(Math.ceil(waitMs / 1000), 1);
  const message = `All replicas of "${name}" have answered badly of late and are left alone; one is tried again in ${seconds} s.`;
  return { status: 503, message, fields: `retry-after: ${seconds}\r\n` };
}

/** What a client is told of an answer that was to be changed and could not be. */
export function unchangedReply({ name }: Service, problem: string): ErrorReply {
  return { status: 502, message: `The answer of "${name}" is to be changed on its way, and ${problem}.` };
}
