import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import type { ContractCode } from "./contract-code.ts";
import type { TypeNames } from "./type-names.ts";

const LONG = new Set([ScalarType.INT64, ScalarType.UINT64, ScalarType.SINT64, ScalarType.FIXED64, ScalarType.SFIXED64]);
const OBJECT = "{ [name: string]: unknown }";

/** The types of messages with a form of their own, as the SDK reads them. */
const OWN_FORM: Record<string, string> = {
  Timestamp: "Date",
  Duration: "number",
  Struct: OBJECT,
  Value: "unknown",
  ListValue: "unknown[]",
  FieldMask: "string[]",
  Any: `{ "@type": string; [name: string]: unknown }`,
  BoolValue: "boolean",
  StringValue: "string",
  BytesValue: "Uint8Array",
  Int64Value: "bigint",
  UInt64Value: "bigint",
};

/** The TypeScript type of a message. */
export function messageType(message: DescMessage, names: TypeNames): string {
  const [, own] = /^google\.protobuf\.(\w+)$/.exec(message.typeName) ?? [];
  if (own !== undefined && own !== "Empty")
    return OWN_FORM[own] ?? (own.endsWith("Value") ? "number" : names.of(message));
  return names.of(message);
}

function scalarType(type: ScalarType | undefined): string {
  if (type === ScalarType.BOOL) return "boolean";
  if (type === ScalarType.STRING) return "string";
  if (type === ScalarType.BYTES) return "Uint8Array";
  return type !== undefined && LONG.has(type) ? "bigint" : "number";
}

function itemType(field: DescField, names: TypeNames): string {
  if (field.message) return messageType(field.message, names);
  return field.enum ? names.of(field.enum) : scalarType(field.scalar);
}

function fieldType(field: DescField, names: TypeNames): string {
  if (field.fieldKind === "map") return `{ [key: string]: ${itemType(field, names)} }`;
  const item = itemType(field, names);
  if (field.fieldKind !== "list") return item;
  return /^[\w.]+$/.test(item) ? `${item}[]` : `(${item})[]`;
}

/** google.protobuf.FeatureSet.FieldPresence.IMPLICIT: zero and absence are the same, so the field is always there. */
const IMPLICIT = 2;

function isAlwaysThere(field: DescField): boolean {
  if (field.oneof) return false;
  return field.presence === IMPLICIT || field.fieldKind === "list" || field.fieldKind === "map";
}

/** A comment of the language, lines indented; none for no text. */
export function docComment(text: string, indent = ""): string[] {
  if (text === "") return [];
  const lines = text.replaceAll("*/", "*\\/").split("\n");
  if (lines.length === 1) return [`${indent}/** ${lines[0]} */`];
  return [`${indent}/**`, ...lines.map((line) => `${indent} * ${line}`.trimEnd()), `${indent} */`];
}

/** The interface of a message as it is read. */
export function interfaceLines(message: DescMessage, code: ContractCode, names: TypeNames): string[] {
  const fields = message.fields.flatMap((field) => {
    const name = /^[A-Za-z_$][\w$]*$/.test(field.jsonName) ? field.jsonName : JSON.stringify(field.jsonName);
    const among = field.oneof ? `At most one of the fields of "${field.oneof.name}" is there.` : "";
    const comment = [code.commentOf(field), among].filter((part) => part !== "").join("\n");
    return [...docComment(comment, "  "), `  ${name}${isAlwaysThere(field) ? "" : "?"}: ${fieldType(field, names)};`];
  });
  const head = docComment(code.commentOf(message) || `${message.typeName}.`);
  return ["", ...head, `export interface ${names.of(message)} {`, ...fields, "}"];
}

/** The type of an enum: its names, and numbers that this contract has no name for. */
export function enumLines(desc: DescEnum, code: ContractCode, names: TypeNames): string[] {
  const values = [...new Set(desc.values.map(({ name }) => JSON.stringify(name)))];
  const head = docComment(code.commentOf(desc) || `${desc.typeName}.`);
  return ["", ...head, `export type ${names.of(desc)} =`, ...values.map((value) => `  | ${value}`), "  | number;"];
}
