import { hash } from "node:crypto";
import type { DescField } from "@bufbuild/protobuf";
import type { Kernel, MethodEntry } from "@hms/kernel";
import { answerText } from "./answer-text.ts";
import type { BodyReader } from "./body-reader.ts";
import { EdgeCall } from "./edge-call.ts";
import { EdgeFault, fault } from "./edge-fault.ts";
import type { EdgeTurn } from "./edge-turn.ts";
import { type HttpBinding, isHttpBody } from "./http-binding.ts";
import { parseJson } from "./json-text.ts";
import { preferredType } from "./media-type.ts";
import { DATA_FIELDS, sendWhole } from "./reply.ts";
import { checkBodyType, hasBody } from "./request-body-type.ts";
import { type RequestParts, requestMessage, takesRawBody } from "./request-message.ts";
import { registryOf } from "./type-registry.ts";

/** What the exchanges of an edge share. */
export interface ExchangeShare {
  readonly kernel: Kernel;
  readonly bodies: BodyReader;
  /** Running streams that only read. */
  readonly watches: Set<EdgeCall>;
}

/** A request and where it leads. */
export interface RoutedTurn extends EdgeTurn {
  readonly binding: HttpBinding;
  readonly segments: readonly string[];
  readonly entry: MethodEntry;
}

/** Answers a call of one request and one answer; rejects with what is to be told the client. */
export async function unaryExchange(share: ExchangeShare, turn: RoutedTurn): Promise<void> {
  const { binding, entry, request } = turn;
  checkBodyType(turn);
  if (!isRawAnswer(binding) && preferredType(request.headers.accept, ["application/json"]) === undefined)
    throw notAcceptable();
  const call = new EdgeCall(turn);
  await admitLarge(share, turn, call);
  const bytes = binding.body === "none" ? undefined : await share.bodies.read(request);
  let input: object;
  try {
    const body = bytes === undefined ? undefined : bodyOf(turn, bytes);
    const parts = { segments: turn.segments, query: turn.query, body };
    input = requestMessage(binding, parts, registryOf(binding.method));
  } catch (error) {
    if (error instanceof EdgeFault) await share.kernel.noteUnreadable(entry, call, error.error);
    throw error;
  }
  const output = await share.kernel.unary(entry, input, call);
  sendOutput(turn, output);
}

/** What a caller may send before it is known. */
const SMALL_BYTES = 64 * 1024;

/** Refuses callers whom nobody knows before room is made for what they send. */
export async function admitLarge({ kernel }: ExchangeShare, turn: RoutedTurn, call: EdgeCall): Promise<void> {
  const { request, binding, entry } = turn;
  if (binding.body === "none" || !hasBody(request)) return;
  if (!(Number(request.headers["content-length"]) <= SMALL_BYTES)) await kernel.admit(entry, call);
}

/** Answers with a message as its binding says. */
export function sendOutput(turn: RoutedTurn, output: object): void {
  const { binding } = turn;
  if (isRawAnswer(binding)) sendRaw(turn, output);
  else sendText(turn, answerText(binding, output, registryOf(binding.method)));
}

/**
 * A request's body as its binding takes it.
 * @throws EdgeFault INVALID_ARGUMENT if it is not JSON
 */
export function bodyOf(turn: RoutedTurn, bytes: Buffer): RequestParts["body"] {
  const { binding, request } = turn;
  if (takesRawBody(binding)) {
    return { raw: { contentType: request.headers["content-type"] ?? "", data: bytes } };
  }
  if (bytes.length === 0 && !hasBody(request)) return binding.body === "all" ? { json: {} } : undefined;
  return { json: parseJson(bytes) };
}

/** Whether a binding's answer travels as it is. */
export function isRawAnswer({ method, responseField }: HttpBinding): boolean {
  if (responseField === undefined) return isHttpBody(method.output);
  return responseField.fieldKind === "message" && isHttpBody(responseField.message);
}

/** The raw body of an answer. */
export function rawAnswer({ responseField }: HttpBinding, output: object): { contentType: string; data: Uint8Array } {
  const body = responseField === undefined ? output : fieldValue(output, responseField);
  const { contentType = "", data = new Uint8Array() } = (body ?? {}) as { contentType?: string; data?: Uint8Array };
  return { contentType: safeContentType(contentType), data };
}

function fieldValue(message: object, { oneof, localName }: DescField): unknown {
  const fields = message as Record<string, unknown>;
  if (oneof === undefined) return fields[localName];
  const chosen = fields[oneof.localName] as { case?: string; value?: unknown };
  return chosen.case === localName ? chosen.value : undefined;
}

// A field of an answer must not become two.
function safeContentType(contentType: string): string {
  return /^[\x20-\x7e]+$/.test(contentType) ? contentType : "application/octet-stream";
}

/** What keeps a body that a service made from acting as a page of this origin. */
export const RAW_FIELDS = ["content-security-policy", "sandbox; frame-ancestors 'none'"];

function sendRaw(turn: RoutedTurn, output: object): void {
  const { contentType, data } = rawAnswer(turn.binding, output);
  sendWhole(turn, 200, { fields: ["content-type", contentType, ...RAW_FIELDS], body: data });
}

function sendText(turn: RoutedTurn, body: string): void {
  const fields = ["content-type", "application/json", ...DATA_FIELDS];
  const { method = "", headers } = turn.request;
  if ((method === "GET" || method === "HEAD") && !turn.entry.mutates) {
    const etag = `"${hash("sha256", body, "base64url")}"`;
    // Browsers keep what a program has been told, to ask whether it has changed; what a person has been told they do not.
    const kept = turn.isPlatformHost ? "no-store" : "private, no-cache";
    fields.push("etag", etag, "cache-control", kept, "vary", "authorization");
    if (matches(headers["if-none-match"], etag)) {
      turn.response.writeHead(304, ["x-request-id", turn.requestId, ...fields.slice(2)]);
      turn.response.end();
      return;
    }
  }
  sendWhole(turn, 200, { fields, body });
}

function matches(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch.split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag);
}

function notAcceptable() {
  return fault("INVALID_ARGUMENT", "This method answers with application/json, which the Accept field excludes.", {
    status: 406,
    reason: "NOT_ACCEPTABLE",
  });
}
