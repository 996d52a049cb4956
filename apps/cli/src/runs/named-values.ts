import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { type FieldViolation, HmsError } from "@hms/kernel/errors";

/** The values of an option that may be repeated. */
export function repeated(value: string | boolean | undefined): string[] {
  return typeof value === "string" ? value.split("\n") : [];
}

/** "NAME=TEXT" and "NAME:=JSON", one after the other. @throws HmsError INVALID_ARGUMENT with each that is none. */
export function readInputs(texts: readonly string[]): JsonObject {
  const inputs: JsonObject = {};
  const problems: FieldViolation[] = [];
  for (const text of texts) {
    const [, name = "", colon = "", value = ""] = /^([^=:]+)(:?)=(.*)$/s.exec(text) ?? [];
    const found = name === "" ? undefined : readValue(colon === ":", value);
    if (found === undefined)
      problems.push({ field: "--input", description: `"${text}" is none: write NAME=TEXT, or NAME:=JSON.` });
    else inputs[name] = found.value;
  }
  return told(inputs, problems);
}

function readValue(isJson: boolean, text: string): { value: JsonValue } | undefined {
  try {
    return { value: isJson ? JSON.parse(text) : text };
  } catch {
    return undefined;
  }
}

/** "NAME=VALUE", one after the other. @throws HmsError INVALID_ARGUMENT with each that is none. */
export function readLabelOptions(texts: readonly string[]): { [name: string]: string } {
  const problems = texts
    .filter((text) => text.indexOf("=") < 1)
    .map((text) => ({ field: "--label", description: `"${text}" is none: write NAME=VALUE.` }));
  const labels = texts.map((text) => [text.slice(0, text.indexOf("=")), text.slice(text.indexOf("=") + 1)] as const);
  return told(Object.fromEntries(labels), problems);
}

function told<T>(value: T, fieldViolations: readonly FieldViolation[]): T {
  if (fieldViolations.length === 0) return value;
  const message = fieldViolations.map(({ field, description }) => `${field}: ${description}`).join(" ");
  throw new HmsError("INVALID_ARGUMENT", message, { fieldViolations: [...fieldViolations] });
}
