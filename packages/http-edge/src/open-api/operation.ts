import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { ffiOptions } from "@hms/contracts";
import type { HttpBinding } from "../http-binding.ts";
import { isHttpBody } from "../http-binding.ts";
import { methodName } from "../route-table.ts";
import { STREAM_TYPES } from "../stream-format.ts";
import { isRawAnswer } from "../unary-exchange.ts";
import { commentOf } from "./comments.ts";
import { described, type JsonSchema, type SchemaCollector } from "./json-schema.ts";

/** An OpenAPI operation of a binding without its parameters. */
export function operationOf(binding: HttpBinding, id: string, schemas: SchemaCollector): JsonSchema {
  const { method } = binding;
  const comment = commentOf(method);
  return {
    operationId: id,
    tags: [method.parent.typeName],
    summary: summaryOf(method, comment),
    ...described(comment),
    ...(method.deprecated ? { deprecated: true } : {}),
    ...ruleOf(method),
    "x-hms-method": methodName(method),
    ...requestBody(binding, schemas),
    responses: {
      "200": { description: "The answer.", content: answerContent(binding, schemas) },
      default: { $ref: "#/components/responses/Error" },
    },
  };
}

function summaryOf({ name }: DescMethod, comment: string): string {
  const first = /^[^\n]*?[.;:](?=\s|$)|^[^\n]+/.exec(comment)?.[0] ?? "";
  return first === "" || first.length > 100
    ? name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, " ")
    : first.replace(/[.;:]$/, "");
}

function ruleOf(method: DescMethod): JsonSchema {
  if (!hasOption(method, ffiOptions.rule)) return {};
  const { permission, idempotency } = getOption(method, ffiOptions.rule);
  return {
    "x-hms-permission": permission,
    "x-hms-idempotency": wordOf(idempotency),
  };
}

function wordOf(idempotency: ffiOptions.Idempotency): string {
  const found = Object.entries(ffiOptions.Idempotency).find(([, value]) => value === idempotency);
  return found?.[0].toLowerCase() ?? "unspecified";
}

function requestBody(binding: HttpBinding, schemas: SchemaCollector): JsonSchema {
  const { body, method } = binding;
  if (body === "none") return {};
  const type = body === "all" ? method.input : body.message;
  if (isHttpBody(type)) return { requestBody: { required: true, content: { "*/*": {} } } };
  const schema = body === "all" ? wholeBody(binding, schemas) : schemas.property(body);
  const streams = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  const array = { type: "array", items: schema };
  const content = streams
    ? { "application/x-ndjson": { schema }, "application/json": { schema: array } }
    : { "application/json": { schema } };
  return { requestBody: { required: true, content } };
}

// What the path fills is not part of the body.
function wholeBody({ method, variables }: HttpBinding, schemas: SchemaCollector): JsonSchema {
  const bound = new Set(variables.filter(({ path }) => path.steps.length === 1).map(({ path }) => path.field));
  if (bound.size === 0) return schemas.message(method.input);
  return schemas.fields(
    method.input,
    method.input.fields.filter((field) => !bound.has(field)),
  );
}

function answerContent(binding: HttpBinding, schemas: SchemaCollector): JsonSchema {
  if (isRawAnswer(binding)) return { "*/*": {} };
  const { method, responseField } = binding;
  const schema = responseField === undefined ? schemas.message(method.output) : schemas.property(responseField);
  if (method.methodKind === "unary" || method.methodKind === "client_streaming")
    return { "application/json": { schema } };
  const array = { type: "array", items: schema };
  return Object.fromEntries(
    STREAM_TYPES.map((type) => [type, { schema: type === "application/json" ? array : schema }]),
  );
}
