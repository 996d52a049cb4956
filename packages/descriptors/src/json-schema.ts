import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { FieldViolation } from "@hms/kernel";

const LONGEST_TEXT = 512 * 1024;
const MOST_HOPS = 50;

/** A place in a schema, as it is read: its keywords and how to name it. */
export interface SchemaNode {
  /** The keywords, references followed. */
  readonly keywords: JsonObject;
  /** JSON pointer; the same for everybody who refers to it. */
  readonly pointer: string;
  /** True if null is allowed beside what the keywords say. */
  readonly nullable: boolean;
  /** The last part of the pointer that a reference led to, "Resource" of "#/$defs/Resource"; undefined without one. */
  readonly sharedName: string | undefined;
}

/** Collects what is wrong with a schema, by its field in the request and the place in the schema. */
export class SchemaProblems {
  readonly violations: FieldViolation[] = [];
  readonly #field: string;

  constructor(field: string) {
    this.#field = field;
  }

  /** Notes a problem at a pointer; the description completes "field: …". */
  add(pointer: string, description: string): void {
    this.violations.push({ field: `${this.#field}${pointer}`, description });
  }
}

/** Whether a value is an object. */
export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The texts of a value that should be a list of texts. */
export function textsOf(value: JsonValue | undefined): string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
}

function unescaped(part: string): string {
  return decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
}

/** A part of a JSON pointer. */
export function pointerPart(name: string): string {
  return `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

/** A JSON Schema (2020-12, older drafts where they agree) whose references stay inside of it. */
export class JsonSchema {
  readonly root: JsonValue;
  readonly problems: SchemaProblems;

  constructor(root: JsonValue, problems: SchemaProblems) {
    this.root = root;
    this.problems = problems;
  }

  /** Parses a text; a problem is noted and stands for "anything". */
  static parse(text: string, field: string): JsonSchema {
    const problems = new SchemaProblems(field);
    if (text.length > LONGEST_TEXT) {
      problems.add("", `is longer than ${LONGEST_TEXT} characters; describe less, or register a FileDescriptorSet.`);
      return new JsonSchema(true, problems);
    }
    try {
      const root = JSON.parse(text) as JsonValue;
      if (isObject(root) || typeof root === "boolean") return new JsonSchema(root, problems);
      problems.add("", 'is no JSON Schema; write an object such as {"type": "object", "properties": {…}}.');
    } catch (error) {
      problems.add("", `is no JSON (${(error as Error).message}).`);
    }
    return new JsonSchema(true, problems);
  }

  /** The schema as a node. */
  get rootNode(): SchemaNode {
    return this.node(this.root, "");
  }

  /** Reads what stands at a pointer: follows references, and takes null out of unions. */
  node(schema: JsonValue | undefined, pointer: string): SchemaNode {
    if (!isObject(schema)) return { keywords: {}, pointer, nullable: false, sharedName: undefined };
    const followed = this.#follow(schema, pointer);
    return this.#withoutNull(followed);
  }

  #follow(schema: JsonObject, pointer: string): SchemaNode {
    let [keywords, place, sharedName] = [schema, pointer, undefined as string | undefined];
    for (let hops = 0; typeof keywords.$ref === "string"; hops += 1) {
      const target = this.#target(keywords.$ref, place);
      if (target === undefined || hops === MOST_HOPS) {
        if (target) this.problems.add(place, `"${keywords.$ref}" leads back to itself.`);
        return { keywords: {}, pointer: place, nullable: false, sharedName: undefined };
      }
      const own = constraintsBeside(keywords);
      if (Object.keys(own).length > 0) {
        // Both hold: what stands beside a reference narrows it, so it is another type.
        keywords = { ...target.schema, ...own };
      } else {
        [keywords, place] = [target.schema, target.pointer];
        sharedName =
          target.pointer === "" ? undefined : unescaped(target.pointer.slice(target.pointer.lastIndexOf("/") + 1));
      }
    }
    return { keywords, pointer: place, nullable: false, sharedName };
  }

  #target(reference: string, from: string): { schema: JsonObject; pointer: string } | undefined {
    if (reference !== "#" && !reference.startsWith("#/")) {
      this.problems.add(from, `"${reference}" leads out of the schema; bring what it means into $defs.`);
      return undefined;
    }
    let schema: JsonValue | undefined = this.root;
    for (const part of reference.split("/").slice(1)) {
      const name = unescaped(part);
      schema = isObject(schema) && Object.hasOwn(schema, name) ? schema[name] : arrayItem(schema, name);
    }
    if (isObject(schema)) return { schema, pointer: reference.slice(1) };
    if (schema === undefined) this.problems.add(from, `"${reference}" leads to nothing.`);
    return schema === undefined ? undefined : { schema: {}, pointer: reference.slice(1) };
  }

  #withoutNull(node: SchemaNode): SchemaNode {
    const { keywords } = node;
    if (Array.isArray(keywords.type) && keywords.type.includes("null")) {
      const types = keywords.type.filter((type) => type !== "null");
      const type = types.length === 1 ? (types[0] ?? "null") : types;
      const values = Array.isArray(keywords.enum) ? { enum: keywords.enum.filter((value) => value !== null) } : {};
      return { ...node, keywords: { ...keywords, type, ...values }, nullable: true };
    }
    if (keywords.nullable === true) return { ...node, nullable: true };
    for (const union of ["anyOf", "oneOf"] as const) {
      const variants = keywords[union];
      if (!Array.isArray(variants)) continue;
      const others = variants.filter((one) => !(isObject(one) && one.type === "null"));
      if (others.length === variants.length) continue;
      const { [union]: _, ...rest } = keywords;
      if (others.length !== 1) return { ...node, keywords: { ...rest, [union]: others }, nullable: true };
      const index = variants.indexOf(others[0] as JsonValue);
      const only = this.node(others[0], `${node.pointer}/${union}/${index}`);
      return { ...only, keywords: { ...only.keywords, ...constraintsBeside(rest) }, nullable: true };
    }
    return node;
  }
}

function arrayItem(schema: JsonValue | undefined, name: string): JsonValue | undefined {
  return Array.isArray(schema) ? schema[Number(name)] : undefined;
}

const annotations = new Set([
  "$ref",
  "$id",
  "$schema",
  "$comment",
  "$defs",
  "definitions",
  "title",
  "description",
  "default",
  "examples",
  "example",
  "deprecated",
  "readOnly",
  "writeOnly",
]);

/** Keywords that say what is allowed, annotations and the reference itself left out. */
function constraintsBeside(keywords: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(keywords).filter(([name]) => !annotations.has(name)));
}
