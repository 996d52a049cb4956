import type { EdgeFault } from "./edge-fault.ts";
import type { EdgeTurn } from "./edge-turn.ts";
import { errorJson, retryAfter } from "./error-answer.ts";

/** Names and values of header fields, one after the other. */
export type FieldList = string[];

/** The fields of every answer. */
export function baseFields({ requestId, foreignOrigin }: Pick<EdgeTurn, "requestId" | "foreignOrigin">): FieldList {
  const fields = ["x-request-id", requestId, "x-content-type-options", "nosniff"];
  if (foreignOrigin !== undefined) {
    fields.push("access-control-allow-origin", foreignOrigin, "vary", "origin");
    fields.push("access-control-expose-headers", "x-request-id, retry-after, etag");
  }
  return fields;
}

/** What answers that are data have beside: a browser that is led to one runs nothing of it and shows it in no frame. */
export const DATA_FIELDS = ["content-security-policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"];

/** Answers with a whole body; HEAD gets the same head without it. */
export function sendWhole(
  turn: EdgeTurn,
  status: number,
  content: { fields: FieldList; body: string | Uint8Array },
): void {
  const { request, response } = turn;
  if (response.headersSent || response.destroyed) return;
  const { body } = content;
  const length = typeof body === "string" ? Buffer.byteLength(body) : body.length;
  const fields = baseFields(turn);
  fields.push(...content.fields, "content-length", String(length));
  response.writeHead(status, fields);
  if (request.method === "HEAD") response.end();
  else response.end(body);
  if (length > SMALL_BYTES) giveUpIfStalled(response);
}

/** What a socket takes at once, also from a client that reads nothing. */
const SMALL_BYTES = 64 * 1024;
/** A client that has not taken a whole answer after this long is given up. */
const STALLED_MS = 60_000;

function giveUpIfStalled(response: EdgeTurn["response"]): void {
  const late = setTimeout(() => response.destroy(), STALLED_MS).unref();
  response.once("close", () => clearTimeout(late));
}

/** How long a client may go on sending a request that has been refused: closed at once, it might not read why. */
const LINGER_MS = 2000;

/** Answers with an error; what still comes of the request is dropped, for a while. */
export function sendFault(turn: EdgeTurn, { error, status, headers }: EdgeFault): void {
  const fields: FieldList = ["content-type", "application/json", "cache-control", "no-store", ...DATA_FIELDS];
  const wait = retryAfter(error);
  if (wait !== undefined) fields.push("retry-after", wait);
  for (const [name, value] of Object.entries(headers)) fields.push(name, value);
  sendWhole(turn, status, { fields, body: errorJson(error, status) });
  if (!turn.request.complete) linger(turn);
}

function linger({ request }: EdgeTurn): void {
  const late = setTimeout(() => request.destroy(), LINGER_MS);
  request.once("close", () => clearTimeout(late));
  request.resume();
}
