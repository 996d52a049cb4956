import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { hasCustomJsonRepresentation } from "@bufbuild/protobuf/wkt";
import type { HttpBinding } from "../http-binding.ts";
import { isTextField } from "../text-value.ts";
import type { JsonSchema, SchemaCollector } from "./json-schema.ts";

/** Fields of messages below messages are told this deep; the edge takes them at any depth. */
const DEEPEST = 3;

/** The query parameters of a binding: what neither the path nor the body fills. */
export function queryParameters(binding: HttpBinding, schemas: SchemaCollector): JsonSchema[] {
  if (binding.body === "all") return [];
  const taken = new Set(binding.variables.map(({ path }) => path.steps.map(({ jsonName }) => jsonName).join(".")));
  const parameters: JsonSchema[] = [];
  const add = (desc: DescMessage, prefix: string, above: readonly DescMessage[]) => {
    for (const field of desc.fields) {
      const name = `${prefix}${field.jsonName}`;
      if (taken.has(name) || (prefix === "" && field === binding.body)) continue;
      if (isTextField(field)) parameters.push(parameterOf(field, name, schemas));
      else if (field.fieldKind === "message" && mayOpen(field.message, above)) {
        add(field.message, `${name}.`, [...above, field.message]);
      }
    }
  };
  add(binding.method.input, "", [binding.method.input]);
  return parameters;
}

function mayOpen(desc: DescMessage, above: readonly DescMessage[]): boolean {
  return above.length <= DEEPEST && !above.includes(desc) && !hasCustomJsonRepresentation(desc);
}

function parameterOf(field: DescField, name: string, schemas: SchemaCollector): JsonSchema {
  const { description, deprecated, ...schema } = schemas.property(field);
  return {
    name,
    in: "query",
    ...(description === undefined ? {} : { description }),
    ...(deprecated === undefined ? {} : { deprecated }),
    ...(field.fieldKind === "list" ? { style: "form", explode: true } : {}),
    schema,
  };
}
