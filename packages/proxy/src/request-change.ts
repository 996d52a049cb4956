import { Readable } from "node:stream";
import { type BodyEdit, isJsonType } from "./body-changes.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { ProxyRequest } from "./client-messages.ts";
import type { ErrorReply } from "./error-reply.ts";

/** All bodies together that are being read to be changed; who comes later waits for those before. */
const MOST_HELD_BYTES = 64 * 1024 * 1024;
let heldBytes = 0;

type Collected = Buffer | "gone" | "late" | "large" | "busy";

/** What a changed body came to: what is sent instead, why nothing is, or that the client has gone. */
export type ChangedRequest = { readonly body: Readable } | { readonly refusal: ErrorReply } | "gone";

/** Reads the whole body of a request and changes it; the request's head says what is sent then. */
export async function changeRequest(
  request: ProxyRequest,
  client: ClientConnection,
  { edit, idleMs }: { edit: BodyEdit; idleMs: number },
): Promise<ChangedRequest> {
  const { head } = request;
  const wrongType = typeProblem(request);
  if (wrongType !== undefined) return { refusal: { status: 415, message: wrongType } };
  if (head.contentLength > edit.maxBytes) return { refusal: tooLarge(edit) };
  if (head.expectsContinue) client.socket.write("HTTP/1.1 100 Continue\r\n\r\n", "latin1");
  head.expectsContinue = false;
  const collected = await collect(request, client, { mostBytes: edit.maxBytes, idleMs });
  if (collected === "gone") return "gone";
  if (collected === "late") return { refusal: { status: 408, message: "The request's body stopped arriving." } };
  if (collected === "large") return { refusal: tooLarge(edit) };
  if (collected === "busy") return { refusal: BUSY };
  const edited = edit.apply(collected);
  if ("problem" in edited) {
    return { refusal: { status: 400, message: `The request's body ${edited.problem}. Send JSON in UTF-8.` } };
  }
  head.contentLength = edited.bytes.length;
  head.transferEncoding = "";
  return { body: Readable.from([edited.bytes], { objectMode: false }) };
}

function typeProblem({ rawHeaders }: ProxyRequest): string | undefined {
  const valuesOf = (name: string) =>
    rawHeaders.filter((_, index) => index % 2 === 1 && (rawHeaders[index - 1] as string).toLowerCase() === name);
  const types = valuesOf("content-type");
  if (types.length !== 1 || !isJsonType(types[0] as string))
    return "This takes JSON only: content-type: application/json.";
  const isPlain = valuesOf("content-encoding").every((coding) => coding.toLowerCase() === "identity");
  return isPlain ? undefined : "This takes bodies that are not compressed only: send it without content-encoding.";
}

const BUSY: ErrorReply = {
  status: 503,
  message: "Too many bodies are being read to be changed; try again in a second.",
  fields: "retry-after: 1\r\n",
};

const tooLarge = ({ maxBytes }: BodyEdit): ErrorReply => ({
  status: 413,
  message: `The request's body is larger than ${maxBytes} bytes.`,
});

/** All of a body, or why there is none; what still comes is read and dropped. */
function collect(
  request: ProxyRequest,
  client: ClientConnection,
  { mostBytes, idleMs }: { mostBytes: number; idleMs: number },
): Promise<Collected> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (outcome: Collected) => {
      clearTimeout(timer);
      heldBytes -= size;
      request.off("data", onData);
      request.off("end", onEnd);
      client.user = null;
      request.resume();
      resolve(outcome);
    };
    const onData = (chunk: Buffer) => {
      timer.refresh();
      size += chunk.length;
      heldBytes += chunk.length;
      if (size > mostBytes) settle("large");
      else if (heldBytes > MOST_HELD_BYTES) settle("busy");
      else chunks.push(chunk);
    };
    const onEnd = () => settle(Buffer.concat(chunks));
    const timer = setTimeout(() => settle("late"), idleMs);
    client.user = { onClientClosed: () => settle("gone"), onClientDrain: () => {} };
    request.on("data", onData);
    request.on("end", onEnd);
  });
}
