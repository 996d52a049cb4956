import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { hasCustomJsonRepresentation } from "@bufbuild/protobuf/wkt";
import { nearestName } from "@hms/manifest";

/** A JSON object under construction. */
export type JsonFields = Record<string, unknown>;

/** A field of a message or of a message below it: every step but the last is a singular message field. */
export interface FieldPath {
  readonly steps: readonly DescField[];
  readonly field: DescField;
}

const byName = new WeakMap<DescMessage, Map<string, DescField>>();

/** The fields of a message by the contract's name and by the JSON name. */
export function fieldsByName(desc: DescMessage): ReadonlyMap<string, DescField> {
  let fields = byName.get(desc);
  if (fields === undefined) {
    fields = new Map();
    for (const field of desc.fields) fields.set(field.name, field).set(field.jsonName, field);
    byName.set(desc, fields);
  }
  return fields;
}

/** Finds the field that a dotted path names, by either name at each step; a string says what is wrong with it. */
export function resolveFieldPath(desc: DescMessage, path: string): FieldPath | string {
  const steps: DescField[] = [];
  let message: DescMessage | undefined = desc;
  for (const name of path.split(".")) {
    if (message === undefined) return `"${steps.at(-1)?.name}" has no fields of its own here.`;
    const field: DescField | undefined = fieldsByName(message).get(name);
    // A contract could spell a field like the way to every object's prototype.
    if (field === undefined || field.jsonName === "__proto__") return unknownField(message, name);
    steps.push(field);
    const isOpen: boolean = field.fieldKind === "message" && !hasCustomJsonRepresentation(field.message);
    message = isOpen ? field.message : undefined;
  }
  return { steps, field: steps.at(-1) as DescField };
}

/** Says that a message has no such field, and which one may be meant. */
export function unknownField(desc: DescMessage, name: string): string {
  const nearest = nearestName(
    name,
    desc.fields.map(({ jsonName }) => jsonName),
  );
  return `${desc.typeName} has no field "${name}".${nearest === undefined ? "" : ` Did you mean "${nearest}"?`}`;
}

/** Puts a value where a path leads; objects on the way are made, and what stood there under either name is replaced. */
export function setAtPath(target: JsonFields, { steps }: FieldPath, value: unknown): void {
  let at = target;
  for (const [index, step] of steps.entries()) {
    if (step.name !== step.jsonName && Object.hasOwn(at, step.name)) {
      if (index < steps.length - 1) at[step.jsonName] ??= at[step.name];
      delete at[step.name];
    }
    if (index === steps.length - 1) {
      at[step.jsonName] = value;
      return;
    }
    const below = at[step.jsonName];
    if (isJsonObject(below)) at = below;
    else {
      const made: JsonFields = {};
      at[step.jsonName] = made;
      at = made;
    }
  }
}

/** Whether a JSON value is an object with fields. */
export function isJsonObject(value: unknown): value is JsonFields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
