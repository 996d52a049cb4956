import { create, type DescField, type JsonValue, type Registry, toJson } from "@bufbuild/protobuf";
import type { HttpBinding } from "./http-binding.ts";

/** An answer, or the part of it that the binding names, as JSON text. */
export function answerText(binding: HttpBinding, output: object, registry?: Registry): string {
  const desc = binding.method.output;
  const options = registry === undefined ? undefined : { registry };
  const json = toJson(desc, output as never, options);
  return JSON.stringify(binding.responseField === undefined ? json : partOf(json, binding.responseField));
}

function partOf(json: JsonValue, field: DescField): JsonValue {
  const value = (json as Record<string, JsonValue>)[field.jsonName];
  if (value !== undefined) return value;
  const zero = toJson(field.parent, create(field.parent), { alwaysEmitImplicit: true }) as Record<string, JsonValue>;
  return zero[field.jsonName] ?? (field.fieldKind === "message" ? {} : null);
}
