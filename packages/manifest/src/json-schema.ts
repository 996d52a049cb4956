import { createRequire } from "node:module";
import type * as Yaml from "yaml";
import { amountPattern, parseAmount } from "./amount.ts";
import { manifestSchema } from "./manifest-schema.ts";
import type { AmountNode, MapNode, ObjectNode, SchemaNode } from "./schema-node.ts";

/** A JSON Schema, as far as it is made here. */
export type JsonSchema = { readonly [keyword: string]: unknown };

/** The manifest's schema as JSON Schema (draft 2020-12) for editors; parseManifest checks more than it can say. */
export function manifestJsonSchema(): JsonSchema {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: "urn:hms-sys:manifest",
    title: "HMS-SYS manifest (*.hms.yml)",
    ...schemaOf(manifestSchema),
  };
}

function schemaOf(node: SchemaNode): JsonSchema {
  const fallback = node.kind === "object" || node.kind === "list" || node.kind === "map" ? undefined : node.default;
  return {
    description: node.description,
    ...shapeOf(node),
    ...(fallback === undefined ? {} : { default: fallback }),
    ...(node.example === undefined ? {} : { examples: [yamlValue(node.example)] }),
  };
}

function shapeOf(node: SchemaNode): JsonSchema {
  switch (node.kind) {
    case "text": {
      const { maxLength, pattern, mayBeEmpty } = node;
      return { type: "string", ...(mayBeEmpty ? {} : { minLength: 1 }), maxLength, ...(pattern ? { pattern } : {}) };
    }
    case "whole":
      return { type: "integer", minimum: node.min, maximum: node.max };
    case "flag":
      return node.only === undefined ? { type: "boolean" } : { const: node.only };
    case "duration":
      return { type: "string", pattern: amountPattern("duration") };
    case "memory":
      return { type: ["string", "integer"], pattern: amountPattern("memory"), ...limits(node, 1) };
    case "cpu":
      return { type: ["string", "number"], pattern: amountPattern("cpu"), ...limits(node, 1000) };
    case "share":
      return { type: ["string", "integer"], pattern: "^(?:100|[1-9][0-9]?)%$", minimum: 1, maximum: node.max };
    case "choice":
      return { enum: Object.keys(node.choices) };
    case "list":
      return { type: "array", items: schemaOf(node.item), minItems: 1, maxItems: node.max, uniqueItems: true };
    case "map":
      return mapShape(node);
    case "object":
      return objectShape(node);
  }
}

/** The limits of an amount that is written as a number, in units of `share` of the least one. */
function limits({ kind, min, max }: AmountNode, share: number): JsonSchema {
  const inNumbers = (text: string) => (parseAmount(kind, text) ?? Number.NaN) / share;
  return { minimum: inNumbers(min), maximum: inNumbers(max) };
}

function mapShape(node: MapNode): JsonSchema {
  const reserved = Object.keys(node.reserved);
  const names = { pattern: node.namePattern, ...(reserved.length > 0 ? { not: { enum: reserved } } : {}) };
  const map = {
    type: "object",
    propertyNames: names,
    additionalProperties: schemaOf(node.value),
    maxProperties: node.max,
  };
  if (!node.listed) return map;
  const items = { type: "string", ...names };
  return { anyOf: [{ type: "array", items, minItems: 1, maxItems: node.max, uniqueItems: true }, map] };
}

function objectShape(node: ObjectNode): JsonSchema {
  const entries = Object.entries(node.properties);
  const required = entries.filter(([, child]) => child.required).map(([key]) => key);
  return {
    type: "object",
    additionalProperties: false,
    ...(required.length === 0 ? {} : { required }),
    ...(node.exclusive ? { allOf: node.exclusive.map((pair) => ({ not: { required: pair } })) } : {}),
    properties: Object.fromEntries(entries.map(([key, child]) => [key, schemaOf(child)])),
  };
}

function yamlValue(text: string): unknown {
  const { parse } = createRequire(import.meta.url)("yaml") as typeof Yaml;
  return parse(text);
}
