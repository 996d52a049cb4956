import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { isObject, type JsonSchema, pointerPart, type SchemaNode, textsOf } from "./json-schema.ts";

/** What a schema becomes in protobuf. */
export type SchemaShape = {
  readonly node: SchemaNode;
} & (
  | { readonly kind: "message"; readonly properties: readonly SchemaProperty[]; readonly exclusive: readonly string[] }
  | { readonly kind: "map"; readonly value: SchemaShape }
  | { readonly kind: "list"; readonly item: SchemaShape }
  | { readonly kind: "choice"; readonly values: readonly string[] }
  | { readonly kind: "integer" | "number" | "float" | "boolean" | "string" | "bytes" | "timestamp" }
  /** Not to be said in fields: `why` says why, or is empty where anything is really meant. */
  | { readonly kind: "anything" | "any object" | "any list"; readonly why: string }
);

/** A property of an object. */
export interface SchemaProperty {
  readonly name: string;
  readonly required: boolean;
  readonly schema: JsonValue;
  readonly pointer: string;
}

const textFormats: Record<string, "timestamp" | "bytes"> = { "date-time": "timestamp", byte: "bytes", binary: "bytes" };
const MOST_NESTED = 32;

function typeOf(keywords: JsonObject): string | undefined {
  const { type } = keywords;
  if (typeof type === "string") return type;
  if (Array.isArray(type)) {
    if (type.length === 1) return String(type[0]);
    return type.every((one) => one === "integer" || one === "number") ? "number" : "several";
  }
  if ("properties" in keywords || "additionalProperties" in keywords || "required" in keywords) return "object";
  if ("items" in keywords || "prefixItems" in keywords) return "array";
  const values = "const" in keywords ? [keywords.const] : keywords.enum;
  if (Array.isArray(values) && values.length > 0) {
    const [first, ...others] = new Set(values.map((value) => typeof value));
    return others.length === 0 ? first : "several";
  }
  return undefined;
}

function propertiesAt({ keywords, pointer }: SchemaNode): SchemaProperty[] {
  const { properties } = keywords;
  const required = new Set(textsOf(keywords.required));
  if (!isObject(properties)) return [];
  return Object.entries(properties).map(([name, schema]) => {
    const place = `${pointer}/properties${pointerPart(name)}`;
    return { name, required: required.has(name), schema, pointer: place };
  });
}

/** Reads the shapes of one schema. */
export class ShapeReader {
  readonly #schema: JsonSchema;
  #depth = 0;

  constructor(schema: JsonSchema) {
    this.#schema = schema;
  }

  /** What a schema at a pointer becomes. */
  read(schema: JsonValue | undefined, pointer: string): SchemaShape {
    return this.shape(this.#schema.node(schema, pointer));
  }

  /** What a node becomes. */
  shape(node: SchemaNode): SchemaShape {
    if (this.#depth >= MOST_NESTED) {
      return { node, kind: "anything", why: "it is nested too deeply" };
    }
    this.#depth += 1;
    try {
      return this.#shape(node);
    } finally {
      this.#depth -= 1;
    }
  }

  #shape(node: SchemaNode): SchemaShape {
    const { keywords } = node;
    if (Array.isArray(keywords.allOf)) return this.#merged(node, keywords.allOf);
    const type = typeOf(keywords);
    if (type === "object") return this.#object(node);
    for (const union of ["oneOf", "anyOf"] as const) {
      if (Array.isArray(keywords[union])) return this.#union(node, keywords[union], union);
    }
    switch (type) {
      case "array":
        return this.#array(node);
      case "string":
        return stringShape(node);
      case "integer":
      case "boolean":
        return { node, kind: type };
      case "number": {
        if (keywords.multipleOf === 1) return { node, kind: "integer" };
        return { node, kind: keywords.format === "float" ? "float" : "number" };
      }
      case undefined:
        return {
          node,
          kind: "anything",
          why: "not" in keywords || "if" in keywords ? "it says only what it is not" : "",
        };
      case "several":
        return { node, kind: "anything", why: "it has values of several types" };
      default:
        return { node, kind: "anything", why: `"${type}" is no type of a field` };
    }
  }

  #object(node: SchemaNode): SchemaShape {
    const { keywords } = node;
    const more = keywords.additionalProperties ?? keywords.unevaluatedProperties;
    const properties = propertiesAt(node);
    if ("patternProperties" in keywords) return { node, kind: "any object", why: "patterns name its properties" };
    if (properties.length > 0 && (more === true || isObject(more))) {
      return { node, kind: "any object", why: "it has other properties beside the named ones" };
    }
    if (isObject(keywords.properties)) return this.#message(node, properties);
    for (const union of ["oneOf", "anyOf"] as const) {
      if (Array.isArray(keywords[union])) return this.#union(node, keywords[union], union);
    }
    if (more === false) return this.#message(node, []);
    if (!isObject(more)) return { node, kind: "any object", why: "" };
    return this.#map(node, this.read(more, `${node.pointer}/additionalProperties`));
  }

  #map(node: SchemaNode, value: SchemaShape): SchemaShape {
    if (value.node.nullable)
      return { node, kind: "map", value: { ...value, kind: "anything", why: "its values may be null" } };
    if (value.kind === "list") {
      return { node, kind: "map", value: { node: value.node, kind: "any list", why: "its values are lists" } };
    }
    if (value.kind !== "map") return { node, kind: "map", value };
    return { node, kind: "map", value: { node: value.node, kind: "any object", why: "its values are maps" } };
  }

  /** Alternatives beside the properties are exclusive if each asks for another one of them. */
  #message(node: SchemaNode, properties: readonly SchemaProperty[]): SchemaShape {
    const { oneOf } = node.keywords;
    const asked = Array.isArray(oneOf) ? oneOf.map((one) => (isObject(one) ? textsOf(one.required) : [])) : [];
    const exclusive = asked.flat();
    const names = new Set(properties.filter(({ required }) => !required).map(({ name }) => name));
    const fits = asked.every(({ length }) => length === 1) && exclusive.every((name) => names.has(name));
    const distinct = new Set(exclusive).size === exclusive.length;
    return {
      node,
      kind: "message",
      properties,
      exclusive: fits && distinct && this.#maySplit(properties, exclusive) ? exclusive : [],
    };
  }

  /** A oneof has no lists and maps. */
  #maySplit(properties: readonly SchemaProperty[], exclusive: readonly string[]): boolean {
    return properties
      .filter(({ name }) => exclusive.includes(name))
      .every(({ schema, pointer }) => !isListOrMap(this.#schema.node(schema, pointer)));
  }

  #array(node: SchemaNode): SchemaShape {
    const { keywords } = node;
    if ("prefixItems" in keywords || Array.isArray(keywords.items)) {
      return { node, kind: "any list", why: "its places have types of their own" };
    }
    const item = this.read(keywords.items, `${node.pointer}/items`);
    if (item.node.nullable) {
      return { node, kind: "list", item: { node: item.node, kind: "anything", why: "its items may be null" } };
    }
    if (item.kind === "list")
      return { node, kind: "list", item: { node: item.node, kind: "any list", why: "its items are lists" } };
    if (item.kind !== "map") return { node, kind: "list", item };
    return { node, kind: "list", item: { node: item.node, kind: "any object", why: "its items are maps" } };
  }

  /** Several schemas that all hold: objects are put together, anything else is what the first says. */
  #merged(node: SchemaNode, parts: readonly JsonValue[]): SchemaShape {
    const { allOf: _, ...own } = node.keywords;
    let merged: JsonObject = own;
    for (const [index, part] of parts.entries()) {
      const { keywords } = this.#schema.node(part, `${node.pointer}/allOf/${index}`);
      const both = mergedKeywords(merged, keywords);
      if (both === undefined) return { node, kind: "anything", why: "its parts contradict each other" };
      merged = both;
    }
    const [only] = parts;
    const alone = parts.length === 1 && Object.keys(own).every((name) => name === "description" || name === "title");
    if (alone)
      return this.shape({
        ...this.#schema.node(only, `${node.pointer}/allOf/0`),
        ...(node.nullable ? { nullable: true } : {}),
      });
    return this.shape({ ...node, keywords: merged });
  }

  /** Variants with one property each, every one another, are a oneof; variants that are texts one choice. */
  #union(node: SchemaNode, variants: readonly JsonValue[], union: "oneOf" | "anyOf"): SchemaShape {
    const nodes = variants.map((one, index) => this.#schema.node(one, `${node.pointer}/${union}/${index}`));
    const [first] = nodes;
    if (first && nodes.length === 1) return this.shape({ ...first, nullable: node.nullable || first.nullable });
    const texts = nodes.map((one) => choiceOf(one));
    if (texts.every((values) => values !== undefined)) {
      const values = [...new Set(texts.flat())];
      return stringShape({ ...node, keywords: { type: "string", enum: values } });
    }
    const properties = nodes.map(taggedProperty);
    const names = properties.map((property) => property?.name);
    const tagged = properties.every((property) => property !== undefined) && new Set(names).size === names.length;
    if (tagged && this.#maySplit(properties, names as string[])) {
      const optional = properties.map((property) => ({ ...property, required: false }));
      return { node, kind: "message", properties: optional, exclusive: names as string[] };
    }
    const objects = nodes.every(({ keywords }) => typeOf(keywords) === "object");
    return { node, kind: objects ? "any object" : "anything", why: "it is one of several, which nothing tells apart" };
  }
}

/** Looks at the surface only: what lies below may lead back here. */
function isListOrMap({ keywords }: SchemaNode): boolean {
  const type = typeOf(keywords);
  if (type !== "object") return type === "array";
  return !isObject(keywords.properties) && isObject(keywords.additionalProperties);
}

/** The texts that a node allows, if it allows only some. */
function choiceOf({ keywords, nullable }: SchemaNode): string[] | undefined {
  if (nullable) return undefined;
  const values = "const" in keywords ? [keywords.const] : keywords.enum;
  if (!Array.isArray(values)) return undefined;
  return values.every((value) => typeof value === "string") ? values : undefined;
}

/** The only property of an object that must have it. */
function taggedProperty(node: SchemaNode): SchemaProperty | undefined {
  const properties = propertiesAt(node);
  const [only] = properties;
  return properties.length === 1 && only?.required && !node.nullable ? only : undefined;
}

function stringShape(node: SchemaNode): SchemaShape {
  const { keywords } = node;
  const values = choiceOf({ ...node, nullable: false });
  if (values !== undefined && values.length > 0 && "enum" in keywords) return { node, kind: "choice", values };
  if (keywords.contentEncoding === "base64") return { node, kind: "bytes" };
  const kind = typeof keywords.format === "string" ? textFormats[keywords.format] : undefined;
  return { node, kind: kind ?? "string" };
}

/** Keywords of two schemas that both hold; undefined if no field can be both. */
function mergedKeywords(a: JsonObject, b: JsonObject): JsonObject | undefined {
  const [typeA, typeB] = [typeOf(a), typeOf(b)];
  if (typeA !== undefined && typeB !== undefined && typeA !== typeB) return undefined;
  const merged: JsonObject = { ...b, ...a };
  if (isObject(a.properties) && isObject(b.properties)) {
    const both = Object.keys(a.properties).filter((name) => name in (b.properties as JsonObject));
    const clashes = both.map((name) => [
      name,
      { allOf: [(a.properties as JsonObject)[name], (b.properties as JsonObject)[name]] },
    ]);
    merged.properties = { ...b.properties, ...a.properties, ...Object.fromEntries(clashes) };
  }
  const required = [...new Set([...textsOf(a.required), ...textsOf(b.required)])];
  return required.length > 0 ? { ...merged, required } : merged;
}
