import { type DescField, getOption, hasOption } from "@bufbuild/protobuf";
import { validate } from "@hms/contracts";
import type { JsonSchema } from "./json-schema.ts";

/** What protovalidate's rules of a field come to as JSON Schema keywords. */
export interface FieldRules {
  readonly keywords: JsonSchema;
  readonly isRequired: boolean;
  /** Rules that no keyword expresses, for people. */
  readonly notes: readonly string[];
}

const NO_RULES: FieldRules = { keywords: {}, isRequired: false, notes: [] };

/** The rules of a field. */
export function rulesOf(field: DescField): FieldRules {
  if (!hasOption(field, validate.field)) return NO_RULES;
  const rules = getOption(field, validate.field);
  return {
    keywords: keywordsOf(rules),
    isRequired: rules.required === true,
    notes: rules.cel.map(({ message, expression }) => (message === "" ? expression : message)).filter(Boolean),
  };
}

function keywordsOf({ type }: validate.FieldRules): JsonSchema {
  switch (type.case) {
    case "string":
      return stringKeywords(type.value);
    case "repeated":
      return repeatedKeywords(type.value);
    case "map":
      return defined({ minProperties: numberOf(type.value.minPairs), maxProperties: numberOf(type.value.maxPairs) });
    case "float":
    case "double":
    case "int32":
    case "sint32":
    case "uint32":
    case "fixed32":
    case "sfixed32":
      return numberKeywords(type.value);
    case "bool":
      return defined({ const: own(type.value, "const") });
    default:
      // 64-bit numbers are text in JSON, which has no bounds.
      return {};
  }
}

function stringKeywords(rules: validate.StringRules): JsonSchema {
  const length = numberOf(own(rules, "len"));
  const list = rules.in.length > 0 ? rules.in : undefined;
  return defined({
    minLength: length ?? numberOf(own(rules, "minLen")),
    maxLength: length ?? numberOf(own(rules, "maxLen")),
    pattern: patternOf(rules),
    const: own(rules, "const"),
    enum: list,
    format: formatOf(rules),
  });
}

function patternOf(rules: validate.StringRules): string | undefined {
  const stated = own(rules, "pattern");
  if (stated !== undefined) return stated as string;
  const prefix = own(rules, "prefix") as string | undefined;
  const suffix = own(rules, "suffix") as string | undefined;
  const contains = own(rules, "contains") as string | undefined;
  if (prefix === undefined && suffix === undefined) return contains === undefined ? undefined : literal(contains);
  const from = prefix === undefined ? "" : `^${literal(prefix)}`;
  return `${from}${suffix === undefined ? "" : `.*${literal(suffix)}$`}`;
}

const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");

const FORMATS: Readonly<Record<string, string>> = {
  email: "email",
  hostname: "hostname",
  ipv4: "ipv4",
  ipv6: "ipv6",
  uri: "uri",
  uriRef: "uri-reference",
  uuid: "uuid",
};

function formatOf({ wellKnown }: validate.StringRules): string | undefined {
  return wellKnown.case !== undefined && wellKnown.value === true ? FORMATS[wellKnown.case] : undefined;
}

interface NumberRules {
  readonly lessThan: { readonly case?: string | undefined; readonly value?: unknown };
  readonly greaterThan: { readonly case?: string | undefined; readonly value?: unknown };
  readonly in: readonly number[];
}

function numberKeywords(rules: NumberRules): JsonSchema {
  const { lessThan, greaterThan } = rules;
  const list = rules.in.length > 0 ? rules.in : undefined;
  return defined({
    maximum: lessThan.case === "lte" ? lessThan.value : undefined,
    exclusiveMaximum: lessThan.case === "lt" ? lessThan.value : undefined,
    minimum: greaterThan.case === "gte" ? greaterThan.value : undefined,
    exclusiveMinimum: greaterThan.case === "gt" ? greaterThan.value : undefined,
    const: own(rules, "const"),
    enum: list,
  });
}

function repeatedKeywords(rules: validate.RepeatedRules): JsonSchema {
  const items = rules.items === undefined ? {} : keywordsOf(rules.items);
  return defined({
    minItems: numberOf(own(rules, "minItems")),
    maxItems: numberOf(own(rules, "maxItems")),
    uniqueItems: own(rules, "unique") === true ? true : undefined,
    items: Object.keys(items).length > 0 ? items : undefined,
  });
}

// Rules tell "not stated" from "stated as zero" by what is on the message itself.
function own(rules: object, name: string): unknown {
  return Object.hasOwn(rules, name) ? (rules as Record<string, unknown>)[name] : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "bigint" && value > 0n ? Number(value) : undefined;
}

function defined(keywords: JsonSchema): JsonSchema {
  return Object.fromEntries(Object.entries(keywords).filter(([, value]) => value !== undefined));
}
