import type { IncomingMessage } from "node:http";
import { type EdgeFault, fault } from "./edge-fault.ts";
import type { HttpBinding } from "./http-binding.ts";
import { hasForeignCharset, mediaTypeOf } from "./media-type.ts";
import { takesRawBody } from "./request-message.ts";

/** What a request of HTTP/2 has more; it looks like one of HTTP/1.1 otherwise. */
interface HttpTwoRequest extends IncomingMessage {
  readonly stream: { readonly endAfterHeaders: boolean };
}

/** Whether a request has a body, even an empty one in chunks. */
export function hasBody(request: IncomingMessage): boolean {
  const { headers } = request;
  if ("stream" in request) return !(request as HttpTwoRequest).stream.endAfterHeaders;
  if (headers["transfer-encoding"] !== undefined) return true;
  const length = headers["content-length"];
  return length !== undefined && length !== "0";
}

/**
 * Checks that a request's body is of a kind that its binding takes.
 * @throws EdgeFault with status 415, or INVALID_ARGUMENT for a body where there must be none
 */
export function checkBodyType({ request, binding }: { request: IncomingMessage; binding: HttpBinding }): void {
  if (!hasBody(request)) return;
  const { headers } = request;
  if (binding.body === "none") {
    throw fault("INVALID_ARGUMENT", "This route takes no body: give everything in path and query.", {
      reason: "BODY_UNEXPECTED",
    });
  }
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    throw unsupported(`The content coding "${encoding}" is not understood; send the body as it is.`, {
      "accept-encoding": "identity",
    });
  }
  if (takesRawBody(binding)) return;
  const contentType = headers["content-type"] ?? "";
  const types = bodyTypes(binding);
  if (!types.includes(mediaTypeOf(contentType))) {
    const given = contentType === "" ? "without a Content-Type" : `of type ${JSON.stringify(contentType)}`;
    throw unsupported(`A body ${given} is not understood here: send ${types.join(" or ")}.`);
  }
  if (hasForeignCharset(contentType)) throw unsupported("JSON is always UTF-8; leave the charset out.");
}

/** The media types that a binding's body may have. */
function bodyTypes({ method }: HttpBinding): readonly string[] {
  const streams = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  return streams ? ["application/x-ndjson", "application/json"] : ["application/json"];
}

function unsupported(message: string, headers: Record<string, string> = {}): EdgeFault {
  return fault("INVALID_ARGUMENT", message, { status: 415, reason: "MEDIA_TYPE_NOT_SUPPORTED", headers });
}
