import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";

/** Messages that are one text in JSON. */
const TEXT_MESSAGES = new Set(["google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask"]);

/** Whether a field can be given as text in a path or query: scalars, enums, their lists, and messages that are one text. */
export function isTextField(field: DescField): boolean {
  if (field.fieldKind === "scalar" || field.fieldKind === "enum") return true;
  if (field.fieldKind === "message") return isTextMessage(field.message);
  if (field.fieldKind === "list") return field.listKind !== "message" || isTextMessage(field.message);
  return false;
}

function isTextMessage(desc: DescMessage): boolean {
  return TEXT_MESSAGES.has(desc.typeName) || isWrapperDesc(desc);
}

/** What a text of a path or query is in JSON; for a list: one of its values. */
export function textToJson(field: DescField, text: string): unknown {
  if (field.enum !== undefined) return /^-?\d+$/.test(text) ? Number(text) : text;
  if (field.message === undefined) return scalarToJson(field.scalar, text);
  if (isWrapperDesc(field.message)) return scalarToJson(field.message.fields[0].scalar, text);
  if (field.message.typeName === "google.protobuf.FieldMask") return camelCasePaths(text);
  return text;
}

function scalarToJson(scalar: ScalarType | undefined, text: string): unknown {
  if (scalar !== ScalarType.BOOL) return text;
  if (text === "true") return true;
  return text === "false" ? false : text;
}

// In JSON a field mask has camel case; in a query people write the names of the contract.
function camelCasePaths(text: string): string {
  return text.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
