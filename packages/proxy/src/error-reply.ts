import { STATUS_CODES } from "node:http";

/** An answer that the proxy gives itself. */
export interface ErrorReply {
  status: number;
  /** What happened and what to do, for people. */
  message: string;
  /** Further fields, each with its line end. */
  fields?: string;
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
}

/** The bytes of a reply, body `{error: {code, message, request_id}}`; Latin-1 text, so that it is written as it is. */
export function renderErrorReply(reply: ErrorReply, context: ReplyContext): string {
  const { status } = reply;
  const error = { code: CODES[status] ?? "UNKNOWN", message: reply.message, request_id: context.requestId };
  const body = asciiJson({ error });
  const connection = context.keepAlive
    ? context.isHttp10
      ? "connection: keep-alive\r\n"
      : ""
    : "connection: close\r\n";
  const head =
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\ndate: ${new Date().toUTCString()}\r\n` +
    `content-type: application/json\r\ncontent-length: ${body.length}\r\nx-request-id: ${context.requestId}\r\n` +
    `${reply.fields ?? ""}${connection}\r\n`;
  return context.isHead ? head : head + body;
}

function asciiJson(value: unknown): string {
  return `${JSON.stringify(value)}\n`.replace(
    /[\u0080-\uffff]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
