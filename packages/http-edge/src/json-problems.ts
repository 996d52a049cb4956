import { type DescField, type DescMessage, fromJson, type JsonValue, type Registry } from "@bufbuild/protobuf";
import { hasCustomJsonRepresentation } from "@bufbuild/protobuf/wkt";
import type { FieldViolation } from "@hms/kernel";
import { fieldsByName, isJsonObject, type JsonFields, unknownField } from "./field-path.ts";

/** Deeper than this nothing is read, as by protobuf's own reader. */
const DEEPEST = 100;
/** More than these are not told: the rest is likely to be more of the same. */
const MOST = 50;

/** Finds everything that keeps a JSON value from being a message: all problems together, each with its field's path. */
export function jsonProblems(desc: DescMessage, json: unknown, registry: Registry | undefined): FieldViolation[] {
  const finder = new ProblemFinder(registry);
  finder.message(desc, json, "");
  return finder.found;
}

class ProblemFinder {
  readonly found: FieldViolation[] = [];
  #depth = 0;
  readonly #registry: Registry | undefined;

  constructor(registry: Registry | undefined) {
    this.#registry = registry;
  }

  message(desc: DescMessage, json: unknown, path: string): void {
    this.#depth += 1;
    if (this.#depth > DEEPEST) this.#add(path, `This lies deeper than ${DEEPEST} messages.`);
    else this.#message(desc, json, path);
    this.#depth -= 1;
  }

  #message(desc: DescMessage, json: unknown, path: string): void {
    if (hasCustomJsonRepresentation(desc)) this.#try(desc, json, path);
    else if (isJsonObject(json)) this.#fields(desc, json, path);
    else this.#add(path, `This must be an object with the fields of ${desc.typeName}.`);
  }

  #fields(desc: DescMessage, json: JsonFields, path: string): void {
    const fields = fieldsByName(desc);
    for (const [key, value] of Object.entries(json)) {
      const own = path === "" ? key : `${path}.${key}`;
      const field = fields.get(key);
      if (field === undefined) this.#add(own, unknownField(desc, key));
      else this.#field(field, value, own);
    }
    if (this.found.length === 0) this.#try(desc, json, path);
  }

  #field(field: DescField, value: unknown, path: string): void {
    const below = field.message;
    if (value === null || below === undefined || hasCustomJsonRepresentation(below)) {
      this.#try(field.parent, { [field.jsonName]: value }, path);
    } else if (field.fieldKind === "message") this.message(below, value, path);
    else if (field.fieldKind === "list" && Array.isArray(value)) {
      for (const [index, item] of value.entries()) this.message(below, item, `${path}[${index}]`);
    } else if (field.fieldKind === "map" && isJsonObject(value)) {
      for (const [key, item] of Object.entries(value)) this.message(below, item, `${path}[${JSON.stringify(key)}]`);
    } else this.#try(field.parent, { [field.jsonName]: value }, path);
  }

  #try(desc: DescMessage, json: unknown, path: string): void {
    try {
      fromJson(desc, json as JsonValue, this.#registry === undefined ? {} : { registry: this.#registry });
    } catch (error) {
      this.#add(path, plainText(error as Error));
    }
  }

  #add(field: string, description: string): void {
    if (this.found.length < MOST) this.found.push({ field, description });
  }
}

function plainText({ message }: Error): string {
  const why = message.slice(message.lastIndexOf(" from JSON: ") + (message.includes(" from JSON: ") ? 12 : 0));
  return `This cannot be read: ${why}.`;
}
