import { type DescField, type DescMessage, fromJson, type JsonValue, type Registry } from "@bufbuild/protobuf";
import { hasCustomJsonRepresentation } from "@bufbuild/protobuf/wkt";
import type { FieldViolation } from "@hms/kernel";

/** Nobody reads more at once. */
const MOST_VIOLATIONS = 20;
/** Names listed beside an unknown one. */
const MOST_NAMES = 12;
/** A value is quoted in a reason; a large one would hide it. */
const MOST_CHARACTERS = 200;

/** How JSON is read. */
export interface JsonLimits {
  /** The types that a google.protobuf.Any may hold. */
  readonly registry: Registry;
  /** How deep messages may lie in each other. */
  readonly recursionLimit: number;
}

/** A part of the JSON: what it should be, and where it lies. */
interface Part {
  readonly desc: DescMessage;
  readonly json: JsonValue;
  readonly path: string;
  readonly depth: number;
}

/** Every reason why a JSON value is no message of a type, with the path of each; at most 20, none for a valid one. */
export function jsonViolations(desc: DescMessage, json: JsonValue, limits: JsonLimits): FieldViolation[] {
  const found: FieldViolation[] = [];
  for (const violation of inMessage({ desc, json, path: "", depth: 1 }, limits)) {
    found.push(violation);
    if (found.length === MOST_VIOLATIONS) break;
  }
  return found;
}

function* inMessage(part: Part, limits: JsonLimits): Generator<FieldViolation> {
  const { desc, json, path, depth } = part;
  if (depth > limits.recursionLimit) {
    yield { field: path, description: `lies deeper than ${limits.recursionLimit} messages: send it flatter` };
  } else if (hasCustomJsonRepresentation(desc) || !isObject(json)) {
    yield* inValue(part, limits);
  } else {
    for (const [key, value] of Object.entries(json)) {
      const field = desc.fields.find(({ name, jsonName }) => key === jsonName || key === name);
      const at = path === "" ? key : `${path}.${key}`;
      if (field === undefined) yield { field: at, description: unknownName(desc) };
      else yield* inField(field, { desc, json: value, path: at, depth }, limits);
    }
  }
}

function* inField(field: DescField, part: Part, limits: JsonLimits): Generator<FieldViolation> {
  const { desc, json, path, depth } = part;
  const inner = partsOf(field, part);
  if (inner === undefined) yield* inValue({ desc, json: { [field.name]: json }, path, depth }, limits);
  else for (const each of inner) yield* inMessage(each, limits);
}

/** The messages in a field's value; undefined if it has to be judged as a whole. */
function partsOf(field: DescField, { json, path, depth }: Part): Part[] | undefined {
  const desc = field.message;
  if (desc === undefined || json === null) return undefined;
  const part = (value: JsonValue, at: string) => ({ desc, json: value, path: at, depth: depth + 1 });
  if (field.fieldKind === "message") return [part(json, path)];
  if (field.fieldKind === "list")
    return Array.isArray(json) ? json.map((value, n) => part(value, `${path}[${n}]`)) : undefined;
  if (!isObject(json)) return undefined;
  return Object.entries(json).map(([key, value]) => part(value, `${path}[${JSON.stringify(key)}]`));
}

function* inValue({ desc, json, path, depth }: Part, limits: JsonLimits): Generator<FieldViolation> {
  try {
    fromJson(desc, json, { ...limits, recursionLimit: limits.recursionLimit - depth + 1 });
  } catch (error) {
    yield { field: path, description: reasonOf(error) };
  }
}

/** The library's reason without the place, which the path names. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const reason = text.replace(/^cannot decode .*? from JSON: /s, "");
  return reason.length > MOST_CHARACTERS ? `${reason.slice(0, MOST_CHARACTERS)} …` : reason;
}

function unknownName({ typeName, fields }: DescMessage): string {
  if (fields.length === 0) return `is no field of ${typeName}, which has none: leave it out`;
  const names = fields.slice(0, MOST_NAMES).map(({ jsonName }) => jsonName);
  return `is no field of ${typeName}: it has ${names.join(", ")}${fields.length > MOST_NAMES ? ", …" : ""}`;
}

const isObject = (json: JsonValue): json is { [key: string]: JsonValue } =>
  typeof json === "object" && json !== null && !Array.isArray(json);
