import { create, type JsonObject, type MessageInitShape, setExtension } from "@bufbuild/protobuf";
import {
  type FieldDescriptorProto,
  FieldOptionsSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { validate } from "@hms/contracts";
import type { SchemaShape } from "./schema-shape.ts";

type Rules = MessageInitShape<typeof validate.FieldRulesSchema>;
type RuleType = NonNullable<Rules["type"]>;

/** Keywords that restrict values and that no rule of buf.validate says. */
const unsaid = [
  "not",
  "if",
  "contains",
  "dependentRequired",
  "dependentSchemas",
  "dependencies",
  "minContains",
  "maxContains",
  "contentSchema",
] as const;

/** Patterns mean the same to JSON Schema (ECMA-262) and buf.validate (RE2) if they have nothing of these. */
const ONLY_ECMA = /\(\?(?!:)|\\[1-9]|\\[uckxpPbB]|\[\^?\]/;

const textFormats: Record<string, MessageInitShape<typeof validate.StringRulesSchema>["wellKnown"]> = {
  email: { case: "email", value: true },
  uuid: { case: "uuid", value: true },
  uri: { case: "uri", value: true },
  "uri-reference": { case: "uriRef", value: true },
  hostname: { case: "hostname", value: true },
  ipv4: { case: "ipv4", value: true },
  ipv6: { case: "ipv6", value: true },
};

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Gathers what is not checked while rules are made. */
type Unchecked = Set<string>;

function patternRule(keywords: JsonObject, unchecked: Unchecked): { pattern?: string } {
  const { pattern } = keywords;
  if (typeof pattern !== "string") return {};
  try {
    new RegExp(pattern, "u");
    if (!ONLY_ECMA.test(pattern)) return { pattern };
  } catch {
    // Not to be used, as is said below.
  }
  unchecked.add("pattern");
  return {};
}

function textRules(keywords: JsonObject, unchecked: Unchecked): RuleType | undefined {
  const { minLength, maxLength, format } = keywords;
  const wellKnown = typeof format === "string" ? textFormats[format] : undefined;
  if (typeof format === "string" && wellKnown === undefined) unchecked.add(`format "${format}"`);
  const allowed = "const" in keywords ? [keywords.const] : keywords.enum;
  const values = Array.isArray(allowed) ? allowed.filter((value) => typeof value === "string") : [];
  const rules = {
    ...(isCount(minLength) && minLength > 0 ? { minLen: BigInt(minLength) } : {}),
    ...(isCount(maxLength) ? { maxLen: BigInt(maxLength) } : {}),
    ...patternRule(keywords, unchecked),
    ...(values.length > 0 ? { in: values } : {}),
    ...(wellKnown ? { wellKnown } : {}),
  };
  return Object.keys(rules).length === 0 ? undefined : { case: "string", value: rules as never };
}

const numberTypes: Partial<Record<Type, { case: string; bits: 32 | 64; whole: boolean }>> = {
  [Type.INT32]: { case: "int32", bits: 32, whole: true },
  [Type.UINT32]: { case: "uint32", bits: 32, whole: true },
  [Type.INT64]: { case: "int64", bits: 64, whole: true },
  [Type.UINT64]: { case: "uint64", bits: 64, whole: true },
  [Type.DOUBLE]: { case: "double", bits: 32, whole: false },
  [Type.FLOAT]: { case: "float", bits: 32, whole: false },
};

function numberRules(keywords: JsonObject, type: Type, unchecked: Unchecked): RuleType | undefined {
  const target = numberTypes[type];
  if (target === undefined) return undefined;
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf } = keywords;
  if (multipleOf !== undefined && multipleOf !== 1) unchecked.add("multipleOf");
  const fits = (value: unknown): value is number =>
    typeof value === "number" && (!target.whole || Number.isInteger(value));
  const number = (value: number) => (target.bits === 64 ? BigInt(value) : value);
  const bound = (name: "greaterThan" | "lessThan", cases: [string, unknown][]) => {
    const found = cases.find(([, value]) => fits(value));
    if (found === undefined && cases.some(([, value]) => value !== undefined)) unchecked.add(name);
    return found ? { [name]: { case: found[0], value: number(found[1] as number) } } : {};
  };
  const allowed = "const" in keywords ? [keywords.const] : keywords.enum;
  const values = Array.isArray(allowed) ? allowed.filter(fits).map(number) : [];
  const rules = {
    ...bound("greaterThan", [
      ["gt", exclusiveMinimum],
      ["gte", minimum],
    ]),
    ...bound("lessThan", [
      ["lt", exclusiveMaximum],
      ["lte", maximum],
    ]),
    ...(values.length > 0 ? { in: values } : {}),
  };
  return Object.keys(rules).length === 0 ? undefined : ({ case: target.case, value: rules } as never);
}

function singleRules(shape: SchemaShape, type: Type, unchecked: Unchecked): RuleType | undefined {
  const { keywords } = shape.node;
  if (type === Type.ENUM) return { case: "enum", value: { definedOnly: true, notIn: [0] } };
  if (type === Type.STRING) return textRules(keywords, unchecked);
  if (type === Type.BOOL && typeof keywords.const === "boolean")
    return { case: "bool", value: { const: keywords.const } };
  return numberRules(keywords, type, unchecked);
}

function countRules(keywords: JsonObject, [least, most]: readonly [string, string], names: readonly [string, string]) {
  const rules: Record<string, bigint> = {};
  if (isCount(keywords[least]) && keywords[least] > 0) rules[names[0]] = BigInt(keywords[least]);
  if (isCount(keywords[most])) rules[names[1]] = BigInt(keywords[most]);
  return rules;
}

function listRules(shape: SchemaShape & { kind: "list" }, type: Type, unchecked: Unchecked): RuleType | undefined {
  const { keywords } = shape.node;
  const rules: MessageInitShape<typeof validate.RepeatedRulesSchema> = countRules(
    keywords,
    ["minItems", "maxItems"],
    ["minItems", "maxItems"],
  );
  if (keywords.uniqueItems === true && type !== Type.MESSAGE) rules.unique = true;
  else if (keywords.uniqueItems === true) unchecked.add("uniqueItems");
  const each = singleRules(shape.item, type, unchecked);
  if (each) rules.items = { type: each };
  return Object.keys(rules).length === 0 ? undefined : { case: "repeated", value: rules };
}

function mapRules(shape: SchemaShape & { kind: "map" }, type: Type, unchecked: Unchecked): RuleType | undefined {
  const { keywords } = shape.node;
  const rules: MessageInitShape<typeof validate.MapRulesSchema> = countRules(
    keywords,
    ["minProperties", "maxProperties"],
    ["minPairs", "maxPairs"],
  );
  const { propertyNames } = keywords;
  const names = typeof propertyNames === "object" && !Array.isArray(propertyNames) ? propertyNames : null;
  const keys = names === null ? undefined : textRules(names, unchecked);
  if (keys) rules.keys = { type: keys };
  const each = singleRules(shape.value, type, unchecked);
  if (each) rules.values = { type: each };
  return Object.keys(rules).length === 0 ? undefined : { case: "map", value: rules };
}

function typeRules(shape: SchemaShape, type: Type, unchecked: Unchecked): RuleType | undefined {
  if (shape.kind === "list") return listRules(shape, type, unchecked);
  if (shape.kind === "map") return mapRules(shape, type, unchecked);
  return singleRules(shape, type, unchecked);
}

/**
 * Writes what a schema says of a field's values as buf.validate rules into its options. `type` is that of the field, its
 * items or its map's values. The keywords that no rule says.
 */
export function writeFieldRules(
  field: FieldDescriptorProto,
  shape: SchemaShape,
  { type, required }: { type: Type; required: boolean },
): string[] {
  const unchecked: Unchecked = new Set(unsaid.filter((name) => name in shape.node.keywords));
  const rules: Rules = {};
  const found = typeRules(shape, type, unchecked);
  if (found) rules.type = found;
  // A list or a map that is there and empty looks as if it were absent.
  const isMany = field.label === Label.REPEATED;
  if (required && !isMany && !shape.node.nullable) rules.required = true;
  if (found && isMany && !required) rules.ignore = validate.Ignore.IF_ZERO_VALUE;
  if (Object.keys(rules).length > 0) {
    field.options ??= create(FieldOptionsSchema);
    setExtension(field.options, validate.field, create(validate.FieldRulesSchema, rules));
  }
  return [...unchecked];
}
