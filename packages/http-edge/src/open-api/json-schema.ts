import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { commentOf } from "./comments.ts";
import { rulesOf } from "./field-rules.ts";

/** A JSON Schema of the 2020-12 dialect, which OpenAPI 3.1 uses. */
export type JsonSchema = Record<string, unknown>;

// JavaScript would round larger numbers, so they travel as text.
const SIGNED_64 = { type: "string", format: "int64", examples: ["-42"] };
const UNSIGNED_64 = { type: "string", format: "uint64", examples: ["42"] };

const SCALARS: Readonly<Record<ScalarType, JsonSchema>> = {
  [ScalarType.DOUBLE]: { type: "number", format: "double" },
  [ScalarType.FLOAT]: { type: "number", format: "float" },
  [ScalarType.INT32]: { type: "integer", format: "int32" },
  [ScalarType.SINT32]: { type: "integer", format: "int32" },
  [ScalarType.SFIXED32]: { type: "integer", format: "int32" },
  [ScalarType.UINT32]: { type: "integer", format: "uint32", minimum: 0 },
  [ScalarType.FIXED32]: { type: "integer", format: "uint32", minimum: 0 },
  [ScalarType.INT64]: SIGNED_64,
  [ScalarType.SINT64]: SIGNED_64,
  [ScalarType.SFIXED64]: SIGNED_64,
  [ScalarType.UINT64]: UNSIGNED_64,
  [ScalarType.FIXED64]: UNSIGNED_64,
  [ScalarType.BOOL]: { type: "boolean" },
  [ScalarType.STRING]: { type: "string" },
  [ScalarType.BYTES]: { type: "string", contentEncoding: "base64" },
};

const WELL_KNOWN: Readonly<Record<string, JsonSchema>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": { type: "string", pattern: "^-?[0-9]+(\\.[0-9]{1,9})?s$", examples: ["1.5s"] },
  "google.protobuf.FieldMask": { type: "string", examples: ["title,place.roomName"] },
  "google.protobuf.Struct": { type: "object", additionalProperties: true },
  "google.protobuf.Value": {},
  "google.protobuf.ListValue": { type: "array", items: {} },
  "google.protobuf.Empty": { type: "object" },
  "google.protobuf.Any": {
    type: "object",
    properties: { "@type": { type: "string" } },
    required: ["@type"],
    additionalProperties: true,
  },
};

/** Collects the schemas of the messages and enums that a document refers to. */
export class SchemaCollector {
  readonly #schemas = new Map<string, JsonSchema>();

  /** All that were referred to, by name. */
  get schemas(): Record<string, JsonSchema> {
    return Object.fromEntries([...this.#schemas].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** The schema of a message where it is used: what it is in JSON, or a reference. */
  message(desc: DescMessage): JsonSchema {
    const wellKnown = Object.hasOwn(WELL_KNOWN, desc.typeName) ? WELL_KNOWN[desc.typeName] : undefined;
    if (wellKnown !== undefined) return wellKnown;
    if (isWrapperDesc(desc)) return nullable(scalarSchema(desc.fields[0].scalar));
    if (!this.#schemas.has(desc.typeName)) {
      // Its place is taken first, because messages may hold themselves.
      this.#schemas.set(desc.typeName, {});
      this.#schemas.set(desc.typeName, this.fields(desc, desc.fields));
    }
    return { $ref: `#/components/schemas/${desc.typeName}` };
  }

  /** An object with some of a message's fields. */
  fields(desc: DescMessage, fields: readonly DescField[]): JsonSchema {
    const properties: Record<string, JsonSchema> = {};
    const required: string[] = [];
    for (const field of fields) {
      properties[field.jsonName] = this.property(field);
      if (rulesOf(field).isRequired) required.push(field.jsonName);
    }
    return {
      type: "object",
      title: desc.name,
      ...described(commentOf(desc)),
      properties,
      ...(required.length > 0 ? { required } : {}),
      ...(desc.deprecated ? { deprecated: true } : {}),
    };
  }

  /** The schema of a field with its description and rules. */
  property(field: DescField): JsonSchema {
    const { keywords, notes } = rulesOf(field);
    const schema = withKeywords(this.#value(field), keywords);
    return { ...schema, ...described(descriptionOf(field, notes)), ...(field.deprecated ? { deprecated: true } : {}) };
  }

  #value(field: DescField): JsonSchema {
    switch (field.fieldKind) {
      case "scalar":
        return scalarSchema(field.scalar);
      case "enum":
        return this.#enum(field.enum);
      case "message":
        return this.message(field.message);
      case "list":
        return { type: "array", items: this.#element(field) };
      case "map":
        return { type: "object", additionalProperties: this.#element(field) };
    }
  }

  #element(field: DescField & { fieldKind: "list" | "map" }): JsonSchema {
    if (field.message !== undefined) return this.message(field.message);
    return field.enum === undefined ? scalarSchema(field.scalar as ScalarType) : this.#enum(field.enum);
  }

  #enum(desc: DescEnum): JsonSchema {
    if (desc.typeName === "google.protobuf.NullValue") return { type: "null" };
    if (!this.#schemas.has(desc.typeName)) {
      const values = desc.values.map((value) => ({ name: value.name, comment: commentOf(value) }));
      const lines = values.filter(({ comment }) => comment !== "").map(({ name, comment }) => `- ${name}: ${comment}`);
      this.#schemas.set(desc.typeName, {
        type: "string",
        title: desc.name,
        ...described([commentOf(desc), lines.join("\n")].filter(Boolean).join("\n\n")),
        enum: values.map(({ name }) => name),
      });
    }
    return { $ref: `#/components/schemas/${desc.typeName}` };
  }
}

function scalarSchema(scalar: ScalarType): JsonSchema {
  return SCALARS[scalar];
}

function nullable(schema: JsonSchema): JsonSchema {
  return { ...schema, type: [schema.type, "null"] };
}

function withKeywords(schema: JsonSchema, keywords: JsonSchema): JsonSchema {
  const { items, ...own } = keywords;
  if (items === undefined) return { ...schema, ...own };
  return { ...schema, ...own, items: { ...(schema.items as JsonSchema), ...(items as JsonSchema) } };
}

function descriptionOf(field: DescField, notes: readonly string[]): string {
  const others = field.oneof?.fields.filter((other) => other !== field).map(({ jsonName }) => `\`${jsonName}\``) ?? [];
  const choice = others.length > 0 ? `Not together with ${others.join(", ")}.` : "";
  return [commentOf(field), choice, ...notes].filter(Boolean).join("\n\n");
}

/** A description, if there is something to say. */
export function described(description: string): { description?: string } {
  return description === "" ? {} : { description };
}
