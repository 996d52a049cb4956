import type { IncomingMessage, ServerResponse } from "node:http";
import type { MountContext } from "@hms/http-edge";
import { HmsError } from "@hms/kernel";

/** One request to the pages of the sign-in. */
export interface Visit {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  readonly query: URLSearchParams;
  /** The client's address, as the gateway saw it. */
  readonly address: string;
  readonly userAgent: string;
  /** The form that was sent; empty for GET. */
  readonly form: URLSearchParams;
}

const LONGEST_FORM_BYTES = 16 * 1024;

/** Reads what was asked and sent. @throws HmsError INVALID_ARGUMENT if the body is no form of at most 16 KiB. */
export async function visitOf(
  request: IncomingMessage,
  response: ServerResponse,
  { query, requestId, readBody }: MountContext,
): Promise<Visit> {
  const { headers } = request;
  return {
    request,
    response,
    requestId,
    query: new URLSearchParams(query),
    address: addressOf(request),
    userAgent: headers["user-agent"] ?? "",
    form: request.method === "POST" ? readForm(headers["content-type"], await readBody()) : new URLSearchParams(),
  };
}

function readForm(type: string | undefined, body: Buffer): URLSearchParams {
  if (body.length <= LONGEST_FORM_BYTES && type?.split(";")[0]?.trim() === "application/x-www-form-urlencoded") {
    return new URLSearchParams(body.toString());
  }
  throw new HmsError("INVALID_ARGUMENT", "This page takes its own forms only (application/x-www-form-urlencoded).");
}

/** The address of a request's client: what the gateway, the last to pass it on, has written. */
export function addressOf({ headers, socket }: IncomingMessage): string {
  const passed = headers["x-forwarded-for"];
  const list = Array.isArray(passed) ? passed.join(",") : passed;
  return list?.split(",").at(-1)?.trim() || socket.remoteAddress || "local";
}

/** Sends a browser on; after a form always by GET (RFC 9700, section 4.12). */
export function sendOn(response: ServerResponse, location: string): void {
  response.statusCode = 303;
  response.setHeader("location", location);
  response.setHeader("cache-control", "no-store");
  response.end();
}

/** A path of our own to go to after something; anything else becomes the start page. */
export function localPath(text: string | null): string {
  return text !== null &&
    /^\/(?:oidc|sign-in|console)(?:[/?][\x21-\x5b\x5d-\x7e]*)?$/.test(text) &&
    !text.includes("//")
    ? text
    : "/sign-in";
}
