import { create, fromJson, type JsonValue, type Registry } from "@bufbuild/protobuf";
import { httpBody } from "@hms/contracts";
import { type FieldViolation, HmsError } from "@hms/kernel";
import { EdgeFault } from "./edge-fault.ts";
import { isJsonObject, type JsonFields } from "./field-path.ts";
import { type HttpBinding, isHttpBody } from "./http-binding.ts";
import { jsonProblems } from "./json-problems.ts";
import { readPath } from "./path-variables.ts";
import { readQuery } from "./query-parameters.ts";

/** A raw body and what it says it is. */
interface RawBody {
  readonly contentType: string;
  readonly data: Uint8Array;
}

/** What a request said: path, query, and its body as JSON or as it came. */
export interface RequestParts {
  readonly segments: readonly string[];
  readonly query: string;
  readonly body: { readonly json: unknown } | { readonly raw: RawBody } | undefined;
}

/** Whether a binding takes its body as it comes. */
export function takesRawBody({ body, method }: HttpBinding): boolean {
  if (body === "none") return false;
  return isHttpBody(body === "all" ? method.input : body.message) && (body === "all" || body.fieldKind === "message");
}

/**
 * Builds a request's message.
 * @throws EdgeFault INVALID_ARGUMENT with every problem of path, query and body
 */
export function requestMessage(binding: HttpBinding, parts: RequestParts, registry?: Registry): object {
  const { body } = parts;
  const isPlain = binding.body === "all" && binding.variables.length === 0 && parts.query === "";
  if (isPlain && body !== undefined && "json" in body) return messageOf(binding, body.json, registry);
  const problems: FieldViolation[] = [];
  const json = body !== undefined && "json" in body ? bodyFields(binding, body.json, problems) : {};
  readQuery(parts.query, binding, { json, problems });
  readPath(parts.segments, binding, { json, problems });
  if (problems.length > 0) throw invalid(problems);
  const message = messageOf(binding, json, registry);
  if (body !== undefined && "raw" in body) putRaw(binding, message, body.raw);
  return message;
}

function bodyFields(binding: HttpBinding, json: unknown, problems: FieldViolation[]): JsonFields {
  if (binding.body === "none") return {};
  if (binding.body !== "all") return { [binding.body.jsonName]: json };
  if (isJsonObject(json)) return json;
  problems.push({ field: "", description: "The body must be a JSON object." });
  return {};
}

/**
 * Reads a message from JSON.
 * @throws EdgeFault INVALID_ARGUMENT with every problem
 */
function messageOf({ method }: Pick<HttpBinding, "method">, json: unknown, registry?: Registry): object {
  try {
    return fromJson(method.input, json as JsonValue, registry === undefined ? undefined : { registry });
  } catch (error) {
    const problems = jsonProblems(method.input, json, registry);
    throw invalid(problems.length > 0 ? problems : [{ field: "", description: (error as Error).message }]);
  }
}

/** Puts a raw body where the binding wants it. */
function putRaw(binding: HttpBinding, message: object, { contentType, data }: RawBody): void {
  if (binding.body === "all") Object.assign(message, { contentType, data });
  else if (binding.body !== "none") {
    const value = create(httpBody.HttpBodySchema, { contentType, data });
    const { oneof, localName } = binding.body;
    Object.assign(message, oneof ? { [oneof.localName]: { case: localName, value } } : { [localName]: value });
  }
}

function invalid(fieldViolations: FieldViolation[]): EdgeFault {
  const first = fieldViolations[0] as FieldViolation;
  const where = first.field === "" ? "" : `${first.field}: `;
  const more = fieldViolations.length > 1 ? ` (and ${fieldViolations.length - 1} more)` : "";
  const message = `The request does not fit its contract: ${where}${first.description}${more}`;
  return new EdgeFault(new HmsError("INVALID_ARGUMENT", message, { reason: "REQUEST_INVALID", fieldViolations }));
}
